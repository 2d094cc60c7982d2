"""How soon `kit --help` and `kit-label --help` answer, and what they import.

This compares the wall time of the console scripts with the limit of the design, and with the time
that the same Python needs to start and do nothing, which no program in it can undercut.

The comparison is fair because all are processes of their own that take turns, with their bytecode
compiled beforehand as in an installed package. The table of imports sums the times of `python -X
importtime`, each without the imports inside it, by top-level package.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from common import (
    argument_parser,
    interleave,
    machine_facts,
    median,
    report,
    run_child,
    verdict,
    with_bytecode,
)

MOST_SECONDS = 0.3
_SCRIPTS = ("kit", "kit-label")


def script_path(name: str) -> str:
    """The console script that belongs to this Python, else the first on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        sys.exit(f"expected the command {name}: pip install the kit for {sys.executable}")
    return found


def heaviest_imports(script: str, environment: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds of the five top-level packages that cost most to import."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", script, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    own_ms: defaultdict[str, float] = defaultdict(float)
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            own_ms[parts[2].strip().split(".")[0]] += int(parts[0]) / 1000
    return dict(sorted(own_ms.items(), key=lambda item: -item[1])[:5])


def main() -> None:
    parser = argument_parser(__doc__, images=False)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (15)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = with_bytecode(folder)
        commands = {name: [sys.executable, script_path(name), "--help"] for name in _SCRIPTS}
        commands["python -c pass"] = [sys.executable, "-c", "pass"]
        contestants = {
            name: lambda command=command: run_child(command, environment).seconds
            for name, command in commands.items()
        }
        interleave(contestants, 1)  # compiles the bytecode
        seconds = interleave(contestants, options.rounds)
        imports = {name: heaviest_imports(script_path(name), environment) for name in _SCRIPTS}
    rows = [
        [
            f"`{name} --help`",
            f"{median(seconds[name]):.3f}",
            verdict(median(seconds[name]), at_most=MOST_SECONDS),
            ", ".join(f"{package} {ms:.0f}" for package, ms in imports[name].items()),
        ]
        for name in _SCRIPTS
    ]
    rows.append(["`python -c pass`", f"{median(seconds['python -c pass']):.3f}", "", ""])
    report(
        "startup",
        machine_facts(),
        ["", "seconds", "to reach", "heaviest imports, ms"],
        rows,
        {"seconds": seconds, "to_reach": MOST_SECONDS, "imports_ms": imports},
    )


if __name__ == "__main__":
    main()
