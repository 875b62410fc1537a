"""The errors around opening any file: missing, a folder, empty, damaged."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_tessera.errors import FileError, TesseraError


def is_zarr(path: Path) -> bool:
    """Say whether a folder is a Zarr array or group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def check_exists(path: str | Path, *, may_be_folder: bool = False, sought: str = "file") -> Path:
    """Return the path of something that can be opened; `sought` is the word for it in errors.

    Raises
    ------
    FileError
        If there is nothing there (naming what is there under nearly that name), if it is a folder where a file is
        needed, or if it is an empty file.
    """
    path = Path(path)
    if not os.path.lexists(path):
        from napari_tessera.io.together import clear_up  # which imports this module

        clear_up(path.parent)
    try:
        if path.is_symlink() and not path.exists():
            raise FileError(
                f"{path} is a link to {path.readlink()}, which is not there. Put it back, or remove the link."
            )
        if not path.exists():
            raise FileError(f"There is no {sought} {path}. {_near(path)}".rstrip())
        if path.is_dir() and not may_be_folder:
            raise FileError(
                f"{path} is a folder, but a file is needed. Name the files in it, for example {path}/*.tif."
            )
        if path.is_file() and path.stat().st_size == 0:
            raise FileError(f"{path} is empty (0 bytes). Copy or save it again.")
    except (PermissionError, ValueError) as error:
        raise FileError(f"{path} cannot be opened: {error}.") from error
    return path


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either."
    names = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=3)
    return f"Did you mean {' or '.join(names)}?" if names else ""


@contextmanager
def explain_damage(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises about a file into a `FileError` that names the file.

    Decoders raise almost anything on damaged bytes, so that here, and only here, every exception is caught.
    """
    try:
        yield
    except TesseraError as error:
        raise FileError(f"{path}: {error}") from error
    except MemoryError as error:
        raise FileError(f"{path} does not fit into memory. Convert it to OME-Zarr, or read a smaller level.") from error
    except PermissionError as error:
        raise FileError(f"{path} may not be read: you have no permission for it.") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path} cannot be read as {what}. It may be damaged or cut off ({reason}).") from error
