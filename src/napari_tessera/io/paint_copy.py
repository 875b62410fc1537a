"""Save the paint of a layer block by block, as often as it changes; see `saved_paint` for the files."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.io.lock import locked
from napari_tessera.io.saved_paint import ARRAY, FORMAT, LOCK, STATE, Index, block_files
from napari_tessera.io.together import bring_to_disk, make_folder, replace_whole, write_whole


class PaintCopy:
    """The saved copy of one layer's paint; one session at a time writes to it.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    shape : tuple of int

    Raises
    ------
    FileError
        If it cannot be written to, or another session writes to it.
    """

    def __init__(self, folder: Path, shape: Index) -> None:
        make_folder(folder)
        self.folder, self.shape = folder, shape
        self._lock = ExitStack()
        self._lock.enter_context(locked(folder / LOCK, f"Another window saves an annotation in {folder}."))
        self._digests: dict[Index, bytes] = {index: b"" for index, _ in block_files(folder)}
        self._painted_px: dict[Index, int] = {}
        self._said: dict[str, Any] = {}

    def update(self, index: Index, block: np.ndarray) -> bool:
        """Save a block if it has changed; say whether it has."""
        painted_px = int(np.count_nonzero(block))
        digest = hashlib.blake2b(block.tobytes(), digest_size=8).digest() if painted_px else None
        if self._digests.get(index) == digest:
            return False
        path = self.folder / f"block-{'-'.join(map(str, index))}.npz"
        if digest is None:
            path.unlink(missing_ok=True)
            del self._digests[index]
        else:
            replace_whole(path, _packed(block))
            self._digests[index] = digest
        self._painted_px[index] = painted_px
        return True

    def say(self, state: Mapping[str, Any], *, has_changed: bool) -> None:
        """Save what the layer is, if that has changed or the paint has."""
        said = {**state, "format": FORMAT, "shape": list(self.shape), "painted_px": self.painted_px}
        if not has_changed and said == {key: value for key, value in self._said.items() if key != "changed"}:
            return
        bring_to_disk(self.folder)
        self._said = {**said, "changed": time.time()}
        write_whole(self.folder / STATE, json.dumps(self._said).encode())

    @property
    def painted_px(self) -> int:
        """How many pixels of the blocks saved by this session are painted."""
        return sum(self._painted_px.values())

    def known(self) -> list[Index]:
        """List the blocks that have a file."""
        return list(self._digests)

    def close(self) -> None:
        """Let another session write to it."""
        self._lock.close()


def _packed(block: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **{ARRAY: block})
    return content.getvalue()
