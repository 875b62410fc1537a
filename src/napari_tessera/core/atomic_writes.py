"""Write files completely or not at all, also several files together, and also if the process is killed.

A writer works in its own folder on the disk of the output, then moves its files into place:

    .tessera/lock              held while a writer starts, moves its files, or cleans up after a killed one
    .tessera/8c2f….lock        held as long as the writer lives; the system releases it when the process ends
    .tessera/8c2f…/new         new files
    .tessera/8c2f…/old         the files that they replace
    .tessera/8c2f…/moves.json  the files that are being moved

Files that exist are moved away first, so that old and new files never lie side by side. If a writer was killed, the
next writer in the same folder undoes its moves and deletes its files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import is_zarr, named_file, read_json, too_long

PAUSE_SECONDS = 0.005
"""Time between two attempts to take a lock."""


@contextmanager
def locked(path: Path, refusal: str, *, wait_seconds: float = 0.05, makes_folder: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, which is removed at the end; by default wait as long as a call of `is_locked` takes.

    A lock file that a killed process left behind holds no lock, because the system has released it. With
    `makes_folder`, the file's folder is made, which another process may remove between two attempts. Raises `FileError`
    with the text `refusal` if another process or thread holds the lock; also if the file cannot be made.
    """
    until = time.monotonic() + wait_seconds
    while (file := _open_locked(path, makes_folder)) is None:
        if time.monotonic() >= until:
            raise FileError(refusal)
        time.sleep(PAUSE_SECONDS)
    try:
        yield
    finally:
        _release(file, path)


def is_locked(path: Path) -> bool:
    """Return whether another process or thread holds the lock."""
    try:
        with locked(path, "", wait_seconds=0):
            return False
    except FileError:
        return True


def _open_locked(path: Path, makes_folder: bool) -> int | None:
    """Open the file and take its lock; return None if another has it, or file or folder was just removed."""
    try:
        if makes_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if makes_folder and isinstance(error, FileNotFoundError):
            return None
        raise FileError(f"{path} cannot be opened: {error}. Remove it, or choose another folder.") from error
    if _try_lock(file) and _is_at(file, path):
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

    def _try_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(file: int, path: Path) -> None:
        os.close(file)  # Windows does not delete an open file
        with suppress(OSError):
            path.unlink()

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # some network drives do not support locks
            return True
        return True

    def _release(file: int, path: Path) -> None:
        with suppress(OSError):
            path.unlink()  # while it is held; afterwards another process may own it
        os.close(file)


HIDDEN, LOCK, NEW, OLD, MOVES = ".tessera", "lock", "new", "old", "moves.json"
OURS = re.compile("([0-9a-f]{8}){1,2}")
"""Name of a working folder or of an output's lock; other files in the hidden folder are left alone."""
LONGEST_WAIT_SECONDS = 60
"""How long to wait for other writers in the same folder; each moves its files in milliseconds."""
CLAIM_SECONDS = 1.0
"""How long to wait for another run that writes the same output."""
FULL = (errno.ENOSPC, errno.EDQUOT)


def check_free(paths: Iterable[Path], *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse to overwrite a file that was read as input, or, without `overwrite`, any file."""
    paths = list(paths)
    for path in _also_read(paths, {Path(os.path.realpath(path)) for path in inputs}):
        raise FileError(f"{path} was read as input and is never overwritten. Choose another name for the output.")
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise FileError(f"{path} exists already. Choose another name, or allow it to be replaced (--overwrite).")
        if os.path.islink(path):
            raise FileError(f"{path} is a link, which would be replaced by a file. Name the file that it points to.")
        if os.path.lexists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise FileError(f"{path} is a pipe or a device, which cannot be replaced. Name a file.")
        if os.path.isdir(path) and not is_zarr(path):
            raise FileError(f"{path} is a folder but not a Zarr, so it is not replaced. Choose another name.")


def _also_read(paths: Iterable[Path], read: set[Path]) -> Iterator[Path]:
    """Yield those of `paths` that are, contain or lie in one of the files in `read`, under any name."""
    if not read:
        return
    around = {folder for path in read for folder in path.parents}
    same = {mark for path in read if (mark := _file_number(path))}
    for path in paths:
        where = Path(os.path.realpath(path))
        if where in around or not read.isdisjoint((where, *where.parents)) or _file_number(path) in same:
            yield path


def _file_number(path: Path) -> tuple[int, int] | None:
    """Return an identifier that does not depend on how the path is written; None if there is no file or identifier."""
    with suppress(OSError):
        status = os.stat(path)
        return (status.st_dev, status.st_ino) if status.st_ino else None
    return None


def make_folder(folder: Path) -> None:
    """Make a folder and its parents if needed; raises `FileError` if it is read-only, or its name is that of a file."""
    with explain_refusal(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "read-only")


@contextmanager
def written_together(
    paths: Sequence[Path], *, overwrite: bool = False, is_claimed: bool = False
) -> Iterator[list[Path]]:
    """Give a temporary path for each of `paths`; at the end all of them are moved into place.

    The first of the files (or Zarr folders) lies in a folder, and the others in it or in folders below. With
    `is_claimed`, other processes do not write the first one meanwhile. If anything fails, nothing is left behind and
    older files stay as they were. Raises `FileError` if the folder is read-only, the disk is full, or the system
    refuses for another reason; or if one of the files exists and `overwrite` is False.
    """
    folder = paths[0].parent
    with explain_refusal(folder), working_folder(folder, paths[0] if is_claimed else None) as work:
        parts = [work / NEW / path.relative_to(folder) for path in paths]
        for part in parts:
            part.parent.mkdir(parents=True, exist_ok=True)
        yield parts
        move_together(work, paths, overwrite=overwrite)


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write one file in an existing folder: a reader finds the old or the complete new one, even after a power cut.

    Several pieces of content are written one after the other.
    """
    replace_whole(path, *content)
    sync_folder(path.parent)


def replace_whole(path: Path, *content: bytes | memoryview) -> None:
    """Do the same as `write_whole`, for one of many files; the caller then syncs the folder once."""
    path = Path(os.path.realpath(path))  # a link stays, and points to the new file
    with explain_refusal(path.parent):
        os.stat(path.parent)
    with written_together([path], overwrite=True) as (part,):
        write_to_disk(part, *content)


def write_to_disk(path: Path, *content: bytes | memoryview) -> None:
    """Write a file and sync it to the disk."""
    with path.open("xb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync a folder's list of files to the disk."""
    with suppress(OSError):  # Windows cannot open folders, and some network drives cannot sync them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def working_folder(folder: Path, output: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder in `folder`, which is made if needed; both are removed at the end.

    If this process is killed, the next writer in `folder` removes the temporary folder. Meanwhile no other process can
    write `output`. Raises `FileError` if the folder cannot be made, or another process writes the output.
    """
    hidden = folder / HIDDEN
    work = hidden / os.urandom(4).hex()
    with ExitStack() as at_end:
        at_end.callback(_remove_empty, [hidden, *_missing(folder)])
        at_end.callback(_remove_unless_moving, work)
        with explain_refusal(folder), _alone_in(hidden):
            _clear_up(hidden)
            at_end.enter_context(locked(hidden / f"{work.name}.{LOCK}", ""))
            (work / NEW).mkdir(parents=True)
        if output is not None:
            refusal = f"Another run is writing {output} at this moment. Wait for it or stop it, or choose another name."
            # Long names, and upper or lower case, do not matter.
            digest = hashlib.blake2b(os.fsencode(output.name.casefold()), digest_size=8).hexdigest()
            claim = output.parent / HIDDEN / f"{digest}.{LOCK}"
            at_end.enter_context(locked(claim, refusal, wait_seconds=CLAIM_SECONDS))
        yield work


def move_together(work: Path, paths: Sequence[Path], *, overwrite: bool) -> None:
    """Move all files from the folder "new" of a working folder into place, or none of them if the system refuses.

    Each file has the same path in "new" as in the output folder. Raises `FileError` if a file exists and `overwrite` is
    False, or the system refuses.
    """
    folder = work.parent.parent
    with explain_refusal(folder), _alone_in(work.parent):
        check_free(paths, overwrite=overwrite)
        names = [str(path.relative_to(folder)) for path in paths]
        with _explain_open_file(folder):
            if len(paths) == 1 and overwrite and not (paths[0].is_dir() or (work / NEW / names[0]).is_dir()):
                os.replace(work / NEW / names[0], paths[0])
                return
            try:
                _move_noted(work, names, [path for path in paths if os.path.lexists(path)])
            except BaseException:
                _undo(work)
                raise


def clear_up(folder: Path) -> None:
    """Undo and delete what killed writers left in a folder; do nothing if it cannot be written to."""
    if os.path.isdir(folder / HIDDEN):
        with suppress(OSError, FileError), _alone_in(folder / HIDDEN):
            _clear_up(folder / HIDDEN)


@contextmanager
def explain_refusal(folder: Path, *, only_full: bool = False) -> Iterator[None]:
    """Turn an `OSError` into a `FileError` that says what to do; only that of a full disk if the work also reads."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileError) or (only_full and error.errno not in FULL):
            raise
        raise FileError(_reason(folder, error)) from error


@contextmanager
def _explain_open_file(folder: Path) -> Iterator[None]:
    """Name the file that the system does not release, in a folder that can be written to."""
    try:
        yield
    except PermissionError as error:
        if not os.access(folder, os.W_OK):
            raise
        name = Path(error.filename2 or error.filename or folder).name
        raise FileError(
            f"{folder / name} cannot be replaced: another program may have it open. Close it; nothing was changed."
        ) from error


@contextmanager
def _alone_in(hidden: Path) -> Iterator[None]:
    """Hold the lock of the hidden folder, which is made if needed and removed at the end if empty."""
    refusal = f"Another run has been moving files in {hidden.parent} for a long time. Wait until it has ended."
    if hidden.is_symlink():
        raise FileError(f"{hidden} is a link, but files that are being written lie in it. Remove it.")
    hidden.mkdir(parents=True, exist_ok=True)
    try:
        with locked(hidden / LOCK, refusal, wait_seconds=LONGEST_WAIT_SECONDS, makes_folder=True):
            yield
    finally:
        _remove_empty([hidden])


def _clear_up(hidden: Path) -> None:
    """Undo the moves of killed writers, and delete their files."""
    left = {entry.stem for entry in hidden.iterdir() if OURS.fullmatch(entry.stem)}
    if left and not is_locked(hidden / LOCK):
        return  # On a network drive without locks, killed writers cannot be told from running ones.
    for name in left:
        if not is_locked(hidden / f"{name}.{LOCK}"):
            _undo(hidden / name)
            _remove_unless_moving(hidden / name)


def _missing(folder: Path) -> list[Path]:
    """List the folders that must be made for this one, the innermost first."""
    return [each for each in (folder, *folder.parents) if not os.path.lexists(each)]


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it is not empty, or is gone
            folder.rmdir()


def _remove_unless_moving(work: Path) -> None:
    """Delete a working folder, unless it holds old files that could not be moved back."""
    if not os.path.lexists(work / MOVES):
        shutil.rmtree(work, ignore_errors=True)


def _move_noted(work: Path, names: Sequence[str], replaced: Sequence[Path]) -> None:
    """Move old files away and new ones in; until all is done, a note on the disk tells how to undo it."""
    folder = work.parent.parent
    homes = {(folder / name).parent for name in names}
    made = list(dict.fromkeys(each for home in homes for each in _missing(home)))
    moves = {name: _mark(work / NEW / name) for name in names}
    note = {"moves": moves, "folders": [str(each.relative_to(folder)) for each in made]}
    (work / OLD).mkdir()
    write_to_disk(work / f"{MOVES}.part", json.dumps(note).encode())
    os.replace(work / f"{MOVES}.part", work / MOVES)
    for path in replaced:
        old = work / OLD / path.relative_to(folder)
        old.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, old)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _move_to_free_name(work / NEW / name, folder / name)
    os.unlink(work / MOVES)


def _move_to_free_name(part: Path, path: Path) -> None:
    """Move a file or folder; if another program has just used the name, its file stays."""
    if part.is_dir():
        os.rename(part, path)  # replaces neither a file nor a folder with files
        return
    try:
        os.link(part, path)
    except OSError as error:  # a file system on which a file has one name, or another program was quicker
        if os.path.lexists(path):
            raise FileError(f"{path} was written by another program just now. Choose another name.") from error
        os.rename(part, path)
    else:
        os.unlink(part)


def _undo(work: Path) -> None:
    """Move the old files back after moves that were not completed."""
    try:
        if (note := _noted_moves(work)) is not None:
            _move_back(work, note)
    except OSError as error:
        raise FileError(
            f"{work.parent.parent} could not be put back as it was: {error}. What was there is kept in {work / OLD}; "
            "the next run that writes to this folder puts it back."
        ) from error


def _noted_moves(work: Path) -> dict[str, Any] | None:
    """Read which files were being moved; None without such a note, or if it names a path outside the folder.

    A note from an unknown source must not move or delete other files.
    """
    try:
        note = read_json(work / MOVES)
        for name in (*note["moves"], *note["folders"]):
            named_file(work.parent.parent, name)
    except (FileError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return dict(note)


def _move_back(work: Path, note: dict[str, Any]) -> None:
    folder = work.parent.parent
    for name, mark in note["moves"].items():
        path, new, old = folder / name, work / NEW / name, work / OLD / name
        if os.path.lexists(path) and _is_moved(path, new, mark):
            if new.exists():
                os.unlink(path)  # a second name of the new file
            else:
                os.rename(path, new)
        if os.path.lexists(old) and not os.path.lexists(path):
            os.rename(old, path)
    _remove_empty([folder / each for each in note["folders"]])
    os.unlink(work / MOVES)


def _mark(path: Path) -> Any:
    """Return what distinguishes a file from one written later; None for a folder."""
    status = os.stat(path)
    return None if path.is_dir() else [status.st_mtime_ns, status.st_size]


def _is_moved(path: Path, new: Path, mark: Any) -> bool:
    """Return whether the file at `path` is the one that was to be moved there, not a later one of another program."""
    return not new.exists() if mark is None else path.is_file() and _mark(path) == mark


def _reason(folder: Path, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{folder} may not be written to. Choose another folder for the output."
    if error.errno == errno.ENAMETOOLONG and error.filename is not None:
        return too_long(Path(error.filename))
    if error.errno in FULL:
        return f"The disk that holds {folder} is full. Free some space; nothing was written."
    return f"Nothing could be written to {folder}: {error}."
