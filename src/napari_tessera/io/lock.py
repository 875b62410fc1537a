"""One at a time: a lock that the system itself gives back when the process that holds it ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_tessera.errors import FileError


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; the file is removed at the end.

    A file that a killed process left behind is no lock, as the system has taken the lock back.

    Parameters
    ----------
    path : Path
        In a folder that can be written to.
    refusal : str
        What to say if another process, or another thread, holds it.

    Raises
    ------
    FileError
        If another one holds it, or the file cannot be made.
    """
    file = _held(path)
    if file is None:
        raise FileError(refusal)
    try:
        yield
    finally:
        _give_back(file, path)


def _held(path: Path) -> int | None:
    """Open the file and take its lock; None if another has it."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FileError(f"{path} cannot be opened: {error}. Remove it, or choose another folder.") from error
        if not _is_taken(file):
            os.close(file)
            return None
        if _is_at(file, path):
            return file
        os.close(file)  # its holder removed it after it was opened here


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _is_taken(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _give_back(file: int, path: Path) -> None:
        os.close(file)  # Windows deletes no file that is open
        with suppress(OSError):
            path.unlink()

else:
    import fcntl

    def _is_taken(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # some network drives know no locks
            return True
        return True

    def _give_back(file: int, path: Path) -> None:
        with suppress(OSError):
            path.unlink()  # while it is held: afterwards it may be another's
        os.close(file)
