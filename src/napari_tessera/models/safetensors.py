"""The `.safetensors` container, read without torch and without trust: each number in it is checked before it is used.

Eight bytes say how long the header is (little-endian), then follow the header (JSON: name, dtype, shape and place of
each tensor, and texts) and the bytes of the tensors, one after the other. Nothing in it can be run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_tessera.core.errors import FileError, ModelError
from napari_tessera.core.files import check_exists, parse_json

LENGTH_BYTES = 8
LONGEST_HEADER = 2**22
"""Enough for the names of some 50,000 training images; a hostile one of this length takes less than 200 MB to read."""
DIGEST = "sha256"
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip
PICKLE = "is a PyTorch pickle; Tessera never opens these, since they can run programs"
FOREIGN_STARTS = (
    (b"\x80", PICKLE),
    (b"PK\x03\x04", PICKLE + " (or another zip archive)"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<", "is a web page or another text, not the file itself"),
    (b"\x89HDF", "is an HDF5 file"),
)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Parameters
    ----------
    dtype : dtype
    shape : tuple of int
    start, stop : int
        Its bytes, counted from the end of the header.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class TensorFile:
    """An open file whose header has been read and found sound.

    Parameters
    ----------
    file : binary file
        At the end of the header.
    tensors : mapping of str to StoredTensor
        In the order of their bytes, which fill the rest of the file without gap or overlap.
    texts : mapping of str to str
    """

    file: BinaryIO
    tensors: Mapping[str, StoredTensor]
    texts: Mapping[str, str]

    def read_arrays(self) -> dict[str, np.ndarray]:
        """Read all tensors, once; they must agree with the file's digest if it has one."""
        n_bytes = max((each.stop for each in self.tensors.values()), default=0)
        content = self.file.read(n_bytes)
        if len(content) < n_bytes:
            raise ValueError("it became shorter while it was read")
        if self.texts.get(DIGEST, digest := digest_of(self.texts, content)) != digest:
            raise ValueError("its content is not what was written (the checksum differs)")
        return {
            name: np.frombuffer(content, each.dtype, math.prod(each.shape), each.start).reshape(each.shape)
            for name, each in self.tensors.items()
        }


@contextmanager
def open_tensors(path: str | Path) -> Iterator[TensorFile]:
    """Open a file and check its header; a `ValueError` raised meanwhile becomes a `ModelError` that names the file.

    Raises
    ------
    ModelError
        If there is no such file, or it is a folder, empty, cut short, damaged, a pickle or of another kind.
    """
    path = checked_path(path)
    try:
        with path.open("rb") as file:
            yield read_start(file, path)
    except (ValueError, RecursionError) as error:
        reason = "its header cannot be read" if isinstance(error, RecursionError | UnicodeError) else error
        raise ModelError(
            f"{path} is damaged, or was not written by Tessera: {reason}. Copy or download it again."
        ) from error
    except MemoryError as error:
        raise ModelError(f"{path} does not fit into memory. Choose a smaller model.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error


def checked_path(path: str | Path) -> Path:
    """Return the path of an ordinary file."""
    try:
        path = check_exists(path, may_be_folder=True)
    except FileError as error:
        raise ModelError(str(error)) from error
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no ordinary file"
        raise ModelError(f"{path} is {kind}, but a model file (.safetensors) is needed. Name the file itself.")
    return path


def read_start(file: BinaryIO, path: Path) -> TensorFile:
    """Read and check what lies before the tensors."""
    n_bytes = os.fstat(file.fileno()).st_size
    start = file.read(64)
    if start[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{":
        check_kind(start, path)
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if not 2 <= length <= LONGEST_HEADER:
        raise ValueError(f"its header says to have {length} bytes, but 2 to {LONGEST_HEADER} are possible")
    if LENGTH_BYTES + length > n_bytes:
        raise ValueError(f"it has {n_bytes} bytes, but its header alone has {length}: it was cut short")
    file.seek(LENGTH_BYTES)
    header = parse_json(file.read(length).decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("the texts in its header are of a wrong type")
    tensors = {name: stored_tensor(name, entry) for name, entry in header.items()}
    return TensorFile(file, in_order(tensors, n_bytes - LENGTH_BYTES - length), texts)


def check_kind(start: bytes, path: Path) -> None:
    """Show what a file is that is no `.safetensors` file."""
    for signature, kind in FOREIGN_STARTS:
        if start.startswith(signature):
            raise ModelError(f"{path} {kind}. Tessera needs a model file (.safetensors) that it wrote itself.")
    raise ModelError(
        f"{path} is no model file, or is damaged from its first bytes on. Tessera needs a model file (.safetensors) "
        "that it wrote itself; copy or download it again."
    )


def stored_tensor(name: str, entry: Any) -> StoredTensor:
    """Check what the header says of one tensor."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"what its header says of tensor {name!r:.80} is incomplete")
    code, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"tensor {name!r:.80} has the unknown type {code!r:.80}")
    if not are_counts(shape) or len(shape) > 8 or not are_counts(place) or len(place) != 2:
        raise ValueError(f"tensor {name!r:.80} has an impossible shape or place")
    dtype = np.dtype(DTYPES[code])
    if place[1] - place[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {name!r:.80} of shape {tuple(shape)} does not fill its {place[1] - place[0]} bytes")
    return StoredTensor(dtype, tuple(shape), *place)


def are_counts(values: Any) -> bool:
    """Return whether this is a list of whole numbers from 0."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def in_order(tensors: Mapping[str, StoredTensor], n_bytes: int) -> dict[str, StoredTensor]:
    """Order tensors by their bytes, which must fill the file exactly."""
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)))
    stop = 0
    for name, each in ordered.items():
        if each.start != stop:
            raise ValueError(f"tensor {name!r:.80} begins at byte {each.start} instead of {stop}")
        stop = each.stop
    if stop != n_bytes:
        reason = "it was cut short" if n_bytes < stop else "something was added to it"
        raise ValueError(f"it holds {n_bytes} bytes of weights, but its header says {stop}: {reason}")
    return ordered


def digest_of(texts: Mapping[str, str], content: bytes) -> str:
    """Return the SHA-256 of the texts (but the digest itself) and of the tensors' bytes."""
    said = json.dumps({key: text for key, text in texts.items() if key != DIGEST}, sort_keys=True)
    return hashlib.sha256(said.encode() + b"\0" + content).hexdigest()
