"""Save the annotation of a layer in a folder, block by block, while the user paints.

``annotation.json`` describes the layer; ``block-Z-Y-X.npz`` holds one block of 1 × 256 × 256 pixels that has
annotation. Each file is written completely or not at all, so after a crash only the last change is lost.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from napari_tessera.core.atomic_writes import (
    clear_up,
    is_locked,
    locked,
    make_folder,
    replace_whole,
    sync_folder,
    working_folder,
    write_whole,
)
from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import parse_json
from napari_tessera.core.sparse_array import Index, Window, block_sides, block_window

FORMAT = 1
STATE, LOCK = "annotation.json", "in-use.lock"
BLOCK_FILE = re.compile(r"block((?:-\d+)+)\.npz")
ARRAY = "paint"
MEMBER = f"{ARRAY}.npy"
LONGEST_HEADER_BYTES = 4096
FOLDER_VARIABLE = "TESSERA_ANNOTATIONS"
DAYS_KEPT = 30
LATEST_SECONDS = 2**36
DAMAGED = (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""Errors from reading a damaged file."""


def annotations_folder() -> Path:
    """Return the folder for annotations, which may not exist; TESSERA_ANNOTATIONS overrides it."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("napari-tessera", appauthor=False) / "annotations"


@dataclass(frozen=True)
class Saved:
    """A saved annotation."""

    folder: Path
    state: Mapping[str, Any] = field(default_factory=dict)  # the layer's shape, dtype, name and placement
    problem: str = ""  # why it cannot be read

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.state.get("name", self.folder.name))

    @property
    def image(self) -> str:
        """Name of the annotated image."""
        return str(self.state.get("image", ""))

    @property
    def changed(self) -> datetime:
        """When it was last saved."""
        return datetime.fromtimestamp(float(self.state.get("changed", 0.0)), UTC).astimezone()

    @property
    def painted_px(self) -> int:
        """Number of annotated pixels."""
        return int(self.state.get("painted_px", 0))

    @property
    def has_paint(self) -> bool:
        """Whether there is a file with annotation."""
        return any(True for _ in block_files(self.folder))

    @property
    def has_ended(self) -> bool:
        """Whether the layer was closed, and not lost in a crash."""
        return bool(self.state.get("has_ended", False))


def block_files(folder: Path) -> Iterator[tuple[Index, Path]]:
    """Yield the blocks that have a file."""
    for path in sorted(folder.iterdir()):
        if found := BLOCK_FILE.fullmatch(path.name):
            yield tuple(map(int, found[1][1:].split("-"))), path


def saved_annotations(folder: Path | None = None) -> list[Saved]:
    """List the annotations of ended sessions, the latest first, without those of other running sessions."""
    folder = folder or annotations_folder()
    if not folder.is_dir():
        return []
    found = [_opened(each) for each in folder.iterdir() if (each / STATE).is_file() and not is_locked(each / LOCK)]
    return sorted(found, key=lambda saved: saved.changed, reverse=True)


def _opened(folder: Path) -> Saved:
    try:
        state = parse_json((folder / STATE).read_text(encoding="utf-8"))
        _check(state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Saved(
            folder,
            problem=f"The annotation saved in {folder} cannot be read: {STATE} is damaged ({error}). The painted "
            "pixels are in the files beside it, which are kept.",
        )
    return Saved(folder, state)


def _check(state: Any) -> None:
    if not isinstance(state, dict) or state["format"] != FORMAT:
        raise ValueError("it has another format")
    lengths = state["shape"]
    if len(lengths) < 2 or not all(isinstance(length, int) and length > 0 for length in lengths):
        raise ValueError("it has no shape")
    if np.dtype(state["dtype"]).kind not in "iu":
        raise ValueError("it has no labels")
    if not 0 <= float(state["changed"]) < LATEST_SECONDS or int(state["painted_px"]) < 0:
        raise ValueError("it has no date, or no number of painted pixels")


def read_blocks(saved: Saved) -> Iterator[tuple[Window, np.ndarray | None]]:
    """Yield the blocks that have a file; None where a file is damaged."""
    shape = tuple(saved.state["shape"])
    for index, path in block_files(saved.folder):
        if len(index) != len(shape) or any(
            place * side >= length for place, side, length in zip(index, block_sides(len(shape)), shape, strict=True)
        ):
            continue
        window = block_window(index, shape)
        yield window, _block(path, window, np.dtype(saved.state["dtype"]))


def _block(path: Path, window: Window, dtype: np.dtype) -> np.ndarray | None:
    sides = tuple(part.stop - part.start for part in window)
    if not path.is_file():  # opening a pipe or a device may never end
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MEMBER).file_size > prod(sides) * dtype.itemsize + LONGEST_HEADER_BYTES:
                return None
            content = archive.read(MEMBER)  # read completely, so that its checksum is checked
        block = np.load(io.BytesIO(content), allow_pickle=False)
    except DAMAGED:
        return None
    return block if block.shape == sides and block.dtype == dtype else None


def discard(saved: Saved) -> None:
    """Delete a saved annotation, unless a session writes to it again."""
    if not is_locked(saved.folder / LOCK):
        with suppress(OSError, FileError), working_folder(saved.folder.parent) as work:
            saved.folder.rename(work / saved.folder.name)  # from here on it is no longer listed


def discard_old(folder: Path | None = None) -> None:
    """Delete annotations that were closed long ago; lost ones are kept until the user discards them.

    Folders that a killed session left while it made or discarded an annotation are deleted too.
    """
    folder = folder or annotations_folder()
    clear_up(folder)
    for begun in folder.iterdir() if folder.is_dir() else ():
        if begun.is_dir() and not is_locked(begun / LOCK):
            clear_up(begun)
            with suppress(OSError):
                begun.rmdir()  # fails if it is not empty
    for saved in saved_annotations(folder):
        is_old = saved.has_ended and time.time() - saved.changed.timestamp() > DAYS_KEPT * 86400
        if is_old or not (saved.problem or saved.has_paint):
            discard(saved)


class PaintCopy:
    """The saved copy of one layer's annotation, in a folder that is made; one session at a time writes to it."""

    def __init__(self, folder: Path, shape: Index) -> None:
        make_folder(folder)
        self.folder, self.shape = folder, shape
        self._lock = ExitStack()
        self._lock.enter_context(locked(folder / LOCK, f"Another window saves an annotation in {folder}."))
        self._digests: dict[Index, bytes] = {index: b"" for index, _ in block_files(folder)}
        self._painted_px: dict[Index, int] = {}
        self._saved_state: dict[str, Any] = {}

    def update(self, index: Index, block: np.ndarray) -> bool:
        """Save a block if it has changed, and return whether it has."""
        painted_px = int(np.count_nonzero(block))
        digest = hashlib.blake2b(block.tobytes(), digest_size=8).digest() if painted_px else None
        if self._digests.get(index) == digest:
            return False
        path = self.folder / f"block-{'-'.join(map(str, index))}.npz"
        if digest is None:
            path.unlink(missing_ok=True)
            del self._digests[index]
        else:
            content = io.BytesIO()
            np.savez_compressed(content, allow_pickle=False, **{ARRAY: block})
            replace_whole(path, content.getvalue())
            self._digests[index] = digest
        self._painted_px[index] = painted_px
        return True

    def save_state(self, state: Mapping[str, Any], *, has_changed: bool) -> None:
        """Save the description of the layer, if it or the annotation has changed."""
        described = {**state, "format": FORMAT, "shape": list(self.shape), "painted_px": self.painted_px}
        if not has_changed and described == {
            key: value for key, value in self._saved_state.items() if key != "changed"
        }:
            return
        sync_folder(self.folder)
        self._saved_state = {**described, "changed": time.time()}
        write_whole(self.folder / STATE, json.dumps(self._saved_state).encode())

    @property
    def painted_px(self) -> int:
        """Number of annotated pixels in the blocks that this session saved."""
        return sum(self._painted_px.values())

    def known(self) -> list[Index]:
        """List the blocks that have a file."""
        return list(self._digests)

    def close(self) -> None:
        """Release the lock for other sessions."""
        self._lock.close()
