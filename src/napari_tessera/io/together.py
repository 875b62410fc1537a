"""Files written whole or not at all, and several of them together or none."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_tessera.errors import FileError
from napari_tessera.io.open_files import is_zarr

ABANDONED_SECONDS = 600


def check_free(paths: Iterable[Path], *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse to write over a file that was read, or, without `overwrite`, over anything.

    Raises
    ------
    FileError
    """
    read = {Path(path).resolve() for path in inputs}
    for path in paths:
        where = path.resolve()
        if any(where == file or where in file.parents or file in where.parents for file in read):
            raise FileError(f"{path} was read as input and is never overwritten. Choose another name for the output.")
        if path.exists() and not overwrite:
            raise FileError(f"{path} exists already. Choose another name, or allow it to be replaced (--overwrite).")
        if path.is_dir() and not is_zarr(path):
            raise FileError(f"{path} is a folder, and no Zarr that could be replaced. Choose another name.")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there; files can be written to it.

    Raises
    ------
    FileError
        If it is read-only, or something else has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "read-only")
    except OSError as error:
        raise FileError(_reason(folder, error)) from error


@contextmanager
def written_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give a temporary path for each of `paths` (in one folder); at the end all of them are moved into place.

    If anything fails on the way, nothing is left behind and older files stay as they were.

    Raises
    ------
    FileError
        If the folder is read-only, the disk is full, or the system refuses in another way.
    """
    folder = paths[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tessera-", dir=folder, ignore_cleanup_errors=True) as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            new.mkdir()
            old.mkdir()
            parts = [new / path.name for path in paths]
            yield parts
            _move_in(parts, paths, old)
    except FileError:
        raise
    except OSError as error:
        raise FileError(_reason(folder, error)) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write one file; a reader, even after a power cut, sees the old one or the whole new one.

    Raises
    ------
    FileError
        If the folder is read-only, the disk is full, or the system refuses in another way.
    """
    _sweep(path)
    replace_whole(path, content)
    bring_to_disk(path.parent)


def replace_whole(path: Path, content: bytes) -> None:
    """Do as `write_whole` for one of many files, after which the folder is brought to the disk once.

    Raises
    ------
    FileError
        If the folder is read-only, the disk is full, or the system refuses in another way.
    """
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise FileError(_reason(path.parent, error)) from error
    finally:
        with suppress(OSError):  # a file system that is read-only refuses even to delete what is not there
            part.unlink()


def _sweep(path: Path) -> None:
    """Delete what writers of this file left that were killed; younger parts may be another's, at work right now."""
    with suppress(OSError):
        for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()


def bring_to_disk(folder: Path) -> None:
    """Let a folder's list of files survive a power cut."""
    with suppress(OSError):  # Windows opens no folders, and some network drives bring none to the disk
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _move_in(parts: Sequence[Path], paths: Sequence[Path], old: Path) -> None:
    replaced: list[Path] = []
    try:
        for part, path in zip(parts, paths, strict=True):
            if path.is_dir():
                shutil.move(path, old / path.name)
                replaced.append(path)
            os.replace(part, path)
    except BaseException:
        for path in replaced:
            if not path.exists():
                shutil.move(old / path.name, path)
        raise


def _reason(folder: Path, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{folder} may not be written to. Choose another folder for the output."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk that holds {folder} is full. Free some space; nothing was written."
    return f"Nothing could be written to {folder}: {error}."
