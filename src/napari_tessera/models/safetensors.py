"""Files of the kind `.safetensors`, read without torch and without trust, and written tensor by tensor.

The library checks the table of tensors, on bytes that were read (a file that is mapped into memory ends the program if
it becomes shorter meanwhile). Here is what it does not do: a header that is not too long, strict JSON, a digest, and
errors that name what a file is instead; and a writer that does not hold Python's lock while it copies all weights.

Eight bytes say how long the header is (little-endian), then follow the header (JSON: name, dtype, shape and place of
each tensor, and texts) and the bytes of the tensors, one after the other. Nothing in it can be run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_tessera.core.errors import FileError, ModelError, first_line
from napari_tessera.core.file_checks import check_exists, parse_json

ENDING = ".safetensors"
LENGTH_BYTES = 8
LONGEST_HEADER = 2**22
"""Enough for the names of some 50,000 training images; a hostile one of this length takes less than 200 MB to read."""
DIGEST = "sha256"
PICKLE = "is a PyTorch pickle; Tessera never opens these, since they can run programs"
FOREIGN_STARTS = (
    (b"\x80", PICKLE),
    (b"PK\x03\x04", PICKLE + " (or another zip archive)"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<", "is a web page or another text, not the file itself"),
    (b"\x89HDF", "is an HDF5 file"),
)


@dataclass(frozen=True)
class TensorFile:
    """An open file whose texts have been read and checked."""

    file: BinaryIO
    table: Mapping[str, Any]  # the tensors' dtype, shape and data_offsets, which only `read_arrays` checks
    texts: Mapping[str, str]

    def read_arrays(self) -> dict[str, np.ndarray]:
        """Read all tensors, once; they must agree with the file's digest if it has one."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        self.file.seek(0)
        content = self.file.read()
        check_length(self.table, len(content) - start_of_tensors(content))
        tensors = memoryview(content)[start_of_tensors(content) :]
        if self.texts.get(DIGEST, digest := digest_of(self.texts, [tensors])) != digest:
            raise ValueError("its content is not what was written (the checksum differs)")
        try:
            return load(content)
        except (SafetensorError, LookupError) as error:
            raise ValueError(f"its tensors are not as its header says ({first_line(error)})") from error


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
    check_length(header, n_bytes - LENGTH_BYTES - length)
    return TensorFile(file, header, texts)


def check_kind(start: bytes, path: Path) -> None:
    """Raise a `ModelError` that names the kind of a file that is no `.safetensors` file."""
    for signature, kind in FOREIGN_STARTS:
        if start.startswith(signature):
            raise ModelError(f"{path} {kind}. Tessera needs a model file (.safetensors) that it wrote itself.")
    raise ModelError(
        f"{path} is no model file, or is damaged from its first bytes on. Tessera needs a model file (.safetensors) "
        "that it wrote itself; copy or download it again."
    )


def check_length(table: Mapping[str, Any], n_bytes: int) -> None:
    """Raise a `ValueError` unless the tensors end where the file ends; `n_bytes` lie behind the header."""
    try:
        stop = max((each["data_offsets"][1] for each in table.values()), default=0)
    except (TypeError, LookupError) as error:
        raise ValueError("what its header says of its tensors is incomplete") from error
    if stop != n_bytes:
        reason = "it was cut short" if type(stop) is int and n_bytes < stop else "something was added to it"
        raise ValueError(f"it holds {n_bytes} bytes of weights, but its header says {stop!r:.40}: {reason}")


def start_of_tensors(content: bytes) -> int:
    """Return at which byte of a file its header ends."""
    return LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")


def digest_of(texts: Mapping[str, str], pieces: Iterable[memoryview]) -> str:
    """Return the SHA-256 of the texts (but the digest itself) and of the tensors' bytes, in the order of a file."""
    text = json.dumps({key: each for key, each in texts.items() if key != DIGEST}, sort_keys=True)
    digest = hashlib.sha256(text.encode() + b"\0")
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def pieces_of_file(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return the pieces of a file one after the other: what lies before the tensors, with a digest, and each tensor.

    The types of the arrays, which lie in memory as in a file, are booleans, integers and floats.
    """
    ordered = sorted(arrays.items(), key=lambda each: (-each[1].itemsize, each[0]))  # so that all are aligned
    pieces = [array.reshape(-1).view(np.uint8).data for _, array in ordered]
    table: dict[str, Any] = {"__metadata__": {**texts, DIGEST: digest_of(texts, pieces)}}
    stop = 0
    for name, array in ordered:
        start, stop = stop, stop + array.nbytes
        dtype = "BOOL" if array.dtype.kind == "b" else f"{array.dtype.kind}{8 * array.itemsize}".upper()
        table[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, stop]}
    header = json.dumps(table, ensure_ascii=False).encode()
    header += b" " * (-len(header) % LENGTH_BYTES)
    return [len(header).to_bytes(LENGTH_BYTES, "little") + header, *pieces]
