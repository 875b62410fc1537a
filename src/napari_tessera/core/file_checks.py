"""Check paths and file sizes, read text and strict JSON, explain damaged files, make temporary folders."""

from __future__ import annotations

import difflib
import errno
import json
import math
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path, PureWindowsPath
from typing import Any

from napari_tessera.core.errors import FileError, TesseraError, short
from napari_tessera.core.memory import free_bytes

HARMLESS_BYTES = 2**28
"""Below this size, pixels are read without checking the size of their file."""
LARGEST_COMPRESSION = 100_000
"""Compression ratio; the decoders used here reach 32,000 (Zstandard), and 80,000 on the white pages of a fax."""
LARGEST_TEXT_BYTES = 2**27
KINDS_OF_SPECIAL_FILES = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a Zarr array or group."""
    return any(os.path.isfile(path / name) for name in ("zarr.json", ".zarray", ".zgroup"))


def is_folder(path: str | Path) -> bool:
    """Return whether a path is a folder of files, and no Zarr array or group."""
    return os.path.isdir(path) and not is_zarr(Path(path))


def check_exists(path: str | Path, *, may_be_folder: bool = False, sought: str = "file") -> Path:
    """Return the path of something that can be opened; `sought` is the word for it in errors.

    Raises `FileError` if it does not exist (similar names are suggested), is a folder where a file is needed, is empty,
    or is a pipe, a device or a socket, which may never end.
    """
    if not isinstance(path, str | PathLike):
        raise FileError(f"{short(path)} is not a path, but the path of a {sought} is needed.")
    path = Path(path)
    if not os.path.lexists(path):
        from napari_tessera.core.atomic_writes import clear_up  # it imports this module

        clear_up(path.parent)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileError(_missing(path, sought)) from None
    except (OSError, ValueError) as error:
        raise FileError(_unreachable(path, error)) from error
    if stat.S_ISDIR(found.st_mode):
        if not may_be_folder:
            raise FileError(
                f"{path} is a folder, but a file is needed. Name the files in it, for example {path}/*.tif."
            )
        return path
    check_regular(path, found)
    if found.st_size == 0:
        raise FileError(f"{path} is empty (0 bytes). Copy or save it again.")
    return path


def check_regular(path: Path | str, found: os.stat_result | None = None) -> int:
    """Return the size of a file in bytes; raises `FileError` for a pipe or a device: opening it may never end."""
    found = os.stat(path) if found is None else found
    if (kind := stat.S_IFMT(found.st_mode)) in KINDS_OF_SPECIAL_FILES:
        special = KINDS_OF_SPECIAL_FILES[kind]
        raise FileError(f"{path} is {special}, but a file is needed. Save its content in a file, and name that file.")
    return found.st_size


def _missing(path: Path, sought: str) -> str:
    if path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which does not exist. Restore it, or remove the link."
    return f"There is no {sought} {path}. {_near(path)}".rstrip()


def _unreachable(path: Path, error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ELOOP:
        return f"{path} is a link that leads back to itself. Remove it, and name the file itself."
    if number == errno.ENAMETOOLONG:
        return too_long(path)
    if number == errno.EACCES:
        return f"{path} cannot be reached: you have no permission for a folder on the way. Ask its owner."
    return f"{path} cannot be opened: {error}."


def too_long(path: Path) -> str:
    """Return the message for a path that is too long for the system."""
    longest = max(path.parts, key=lambda part: len(os.fsencode(part)))
    return f"The name {longest[:40]}… is longer than this system allows. Give a shorter one."


def _near(path: Path) -> str:
    folder = path.parent
    try:
        if not folder.is_dir():
            return f"There is no folder {folder} either."
        names = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=3)
    except OSError:
        return ""
    return f"Did you mean {' or '.join(names)}?" if names else ""


def named_file(folder: Path, name: str) -> Path:
    """Return the path of a file that another file names; it need not exist.

    Raises `FileError` if it lies outside the folder, also through a link: a file must not choose what else is read.
    """
    check_name(name)
    path = folder / name
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise FileError(f"It names the file {short(name)}, which cannot be reached ({error}).") from error
    if not is_inside:
        raise FileError(
            f"It names the file {short(name)}, which is a link to a place outside the folder. Put the file there."
        )
    return path


def check_name(name: str) -> None:
    """Refuse a file name that contains a folder, in any system's notation."""
    parts = PureWindowsPath(name)  # splits at both kinds of slashes
    if parts.anchor or ".." in parts.parts or "\0" in name:
        raise FileError(f"It names the file {short(name)}, which lies outside the folder. Put it there.")


def read_text(path: Path, *, largest_bytes: int = LARGEST_TEXT_BYTES, encoding: str = "utf-8") -> str:
    """Read a text file of limited size; raises `FileError` if it is larger, or not a regular file."""
    size = check_regular(path)
    if size > largest_bytes:
        raise FileError(f"It has {size / 1e6:,.0f} MB, but such a text has at most {largest_bytes / 1e6:,.0f} MB.")
    return path.read_text(encoding=encoding)


def check_can_hold(stored_bytes: int, pixel_bytes: int, *, times: int = LARGEST_COMPRESSION) -> None:
    """Before memory is allocated, refuse pixels that so few stored bytes cannot hold."""
    if pixel_bytes > max(HARMLESS_BYTES, times * stored_bytes):
        raise ValueError(f"its header promises {pixel_bytes / 1e6:,.0f} MB of pixels, more than the file can hold")


def check_fits(pixel_bytes: int) -> None:
    """Before memory is allocated, refuse pixels that do not fit into free memory."""
    if pixel_bytes > HARMLESS_BYTES and pixel_bytes > free_bytes():
        raise MemoryError


def stored_bytes(path: Path, *, enough: int) -> int:
    """Return the size of a file, or of the files in a folder, counted only up to `enough`."""
    if not path.is_dir():
        return path.stat().st_size
    total = 0
    for file in files_in(path):
        total += os.stat(file, follow_symlinks=False).st_size
        if total >= enough:
            break
    return total


def files_in(folder: Path) -> Iterator[str]:
    """Yield the files in a folder and its subfolders."""
    return (os.path.join(inner, name) for inner, _, names in os.walk(folder) for name in names)


@contextmanager
def explain_damage(path: Path, what: str) -> Iterator[None]:
    """Turn any exception of a library into a `FileError` that names the file.

    Decoders raise almost any exception on damaged bytes, so here, and only here, every exception is caught.
    """
    try:
        yield
    except TesseraError as error:
        raise FileError(f"{path}: {error}") from error
    except MemoryError as error:
        raise FileError(f"{path} does not fit into memory. Convert it to OME-Zarr, or read a smaller level.") from error
    except PermissionError as error:
        raise FileError(f"{path} may not be read: you have no permission for it.") from error
    except NotImplementedError as error:
        raise FileError(
            f"{path} is stored in a way that is not read here ({error}). Save it as a plain TIFF."
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path} cannot be read as {what}. It may be damaged or cut off ({reason:.300}).") from error


PREFIX = "tessera-model-"
LEFT_AFTER_SECONDS = 7 * 24 * 3600.0
"""A folder is used for minutes; the process that made an older one was killed."""


@contextmanager
def short_lived_folder() -> Iterator[Path]:
    """Make a temporary folder, deleted at the end; old ones of killed programs are deleted too."""
    _delete_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        yield Path(folder)


def _delete_left() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another program deletes it, too
            status = path.lstat()
            is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if is_own and not path.is_symlink() and time.time() - status.st_mtime > LEFT_AFTER_SECONDS:
                shutil.rmtree(path)


DEEPEST = 32
LONGEST_NUMBER = 19
"""Characters of a 64-bit integer."""
LARGEST_BYTES = 2**26
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
HALF_CHARACTER = re.compile(rf"\\u[dD][89a-fA-F]|{LONE_SURROGATE.pattern}")


def read_json(path: Path, deepest: int = DEEPEST) -> Any:
    """Read JSON from a regular file of limited size; raises `ValueError` for other JSON than `parse_json` takes."""
    if not check_exists(path).is_file():
        raise ValueError("it is not a regular file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES} bytes")
    return parse_json(content.decode("utf-8-sig"), deepest)


def parse_json(text: str, deepest: int = DEEPEST) -> Any:
    """Parse JSON nested in up to `deepest` levels, without repeated keys, infinite numbers, NaN and lone surrogates."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_int=_short_int,
            parse_float=_finite_float,
            parse_constant=_finite_float,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _is_deeper(value, deepest):
        raise ValueError("it is nested too deeply")
    if HALF_CHARACTER.search(text) and LONE_SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise ValueError("it holds half of a character (a lone surrogate), which cannot be stored")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of pairs, and refuse repeated keys."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def _short_int(text: str) -> int:
    """Parse an integer of limited length."""
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"it holds a number of {len(text)} digits")
    return int(text)


def _finite_float(text: str) -> float:
    """Parse a number, and refuse infinity and NaN."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it holds the number {text:.20}")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and dicts are nested in more than `levels` levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
