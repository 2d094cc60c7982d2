"""Where things are that tests need, whichever folder a test is in."""

from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
FILES = TESTS / "files"
GOLDEN = TESTS / "golden"
OTHER_RUNTIMES = TESTS / "support" / "other_runtimes"
