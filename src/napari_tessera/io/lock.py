"""One at a time: a lock that the system itself gives back when the process that holds it ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_tessera.errors import FileError

PAUSE_SECONDS = 0.005
"""Between two attempts to get a lock that is waited for."""


@contextmanager
def locked(path: Path, refusal: str, *, wait_seconds: float = 0.05, makes_folder: bool = False) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; the file is removed at the end.

    A file that a killed process left behind is no lock, as the system has taken the lock back.

    Parameters
    ----------
    path : Path
    refusal : str
        What to say if another process, or another thread, holds it.
    wait_seconds : float
        How long to wait for the other one; the default lets one pass that only looks whether it is held.
    makes_folder : bool
        Make the file's folder, which another process may remove between two attempts.

    Raises
    ------
    FileError
        If another one holds it, or the file cannot be made.
    """
    until = time.monotonic() + wait_seconds
    while (file := _held(path, makes_folder)) is None:
        if time.monotonic() >= until:
            raise FileError(refusal)
        time.sleep(PAUSE_SECONDS)
    try:
        yield
    finally:
        _give_back(file, path)


def is_locked(path: Path) -> bool:
    """Return whether another process, or another thread, holds the lock."""
    try:
        with locked(path, "", wait_seconds=0):
            return False
    except FileError:
        return True


def _held(path: Path, makes_folder: bool) -> int | None:
    """Open the file and take its lock; None if another has it, or the holder removed file or folder just now."""
    try:
        if makes_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if makes_folder and isinstance(error, FileNotFoundError):
            return None
        raise FileError(f"{path} cannot be opened: {error}. Remove it, or choose another folder.") from error
    if _is_taken(file) and _is_at(file, path):
        return file
    os.close(file)
    return None


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
