"""Starts `kit-label`, which is `python -m kit.device` too."""

import gc
import sys

# Loading modules makes hardly any garbage; to look for it takes longer than to label an image.
gc.disable()
from kit.device.command import main  # noqa: E402

gc.freeze()
gc.enable()


def console() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    console()
