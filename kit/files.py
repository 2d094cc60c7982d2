"""Outputs are complete or absent: written beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.errors import OutputExistsError


def check_absent(output: str | os.PathLike[str], force: bool) -> Path:
    """The output's path; raises OutputExistsError where it exists and `force` is not set.

    So it does, forced or not, where the output cannot be renamed, and hence not be replaced.
    """
    path = Path(output)
    if path.name in ("", "..") or os.path.ismount(path):
        raise OutputExistsError(
            f"{path}: expected an output that can be replaced, this one stays where it is: name a "
            f"new one{' in it' if path.is_dir() else ''}"
        )
    if not force and (path.exists() or path.is_symlink()):
        raise OutputExistsError(
            f"{path}: expected an output that does not exist yet: choose another, or --force"
        )
    return path


def check_spares(output: str | os.PathLike[str], *inputs: str | os.PathLike[str]) -> None:
    """Raises OutputExistsError where an output would replace what is read for it."""
    for one in inputs:
        if Path(one).resolve().is_relative_to(Path(output).resolve()):
            raise OutputExistsError(
                f"{output}: expected an output that does not replace {one}, which it is or holds: "
                "choose another"
            )


@contextmanager
def folder_beside(output: str | os.PathLike[str], force: bool) -> Iterator[Path]:
    """A folder to fill; it becomes `output` at the end, or vanishes if anything is raised.

    With `force` an older folder is replaced, but not before the new one is complete.
    """
    path = check_absent(output, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    try:
        partial.chmod(0o777 & ~_umask())  # mkdtemp's is for the owner alone
        yield partial
        check_absent(path, force)
        if path.exists() or path.is_symlink():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old-", dir=path.parent))
            path.rename(old / path.name)
            try:
                partial.rename(path)
            except BaseException:
                (old / path.name).rename(path)
                raise
            finally:
                if path.exists():
                    shutil.rmtree(old)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_beside(output: str | os.PathLike[str], content: bytes, force: bool) -> None:
    """Writes a file completely or not at all."""
    path = check_absent(output, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.partial-", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def size_of(folder: Path) -> int:
    """Bytes of all files at any depth."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
