"""The record of a run: plain JSON, enough to run it again and get the same labels."""

from __future__ import annotations

import base64
import hashlib
import platform
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from napari_tessera.errors import FileError, InputError
from napari_tessera.jobs import Job, Progress

FORMAT = 1
LARGEST_EMBEDDED_BYTES = 1_000_000
PART_BYTES = 2**22
ZLIB_LEVEL = 3
CORE_PACKAGES = ("napari-tessera", "numpy", "scipy", "scikit-image", "numba", "fastremap", "torch")


def versions() -> dict[str, str]:
    """Versions of Python, the system and the packages that decide a result."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in CORE_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Tell the time, as an ISO 8601 text in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def described(array: np.ndarray) -> Job[dict[str, Any]]:
    """Give shape, dtype and SHA-256 of an array's pixels in C order; no hash of an array that is not in memory."""
    digest = None
    if isinstance(array, np.ndarray):
        hashing = hashlib.sha256()
        for part in _little_endian_parts(array):
            hashing.update(part)
            yield Progress(0, 1, "Recording")
        digest = hashing.hexdigest()
    return {"shape": list(map(int, array.shape)), "dtype": np.dtype(array.dtype).str.lstrip("<>|="), "sha256": digest}


def embed(array: np.ndarray) -> Job[dict[str, Any]]:
    """Describe an array and, where it packs small (paint, seeds), keep its values in the record."""
    record = yield from described(array)
    packing, packed = zlib.compressobj(ZLIB_LEVEL), bytearray()
    for part in _little_endian_parts(array):
        packed += packing.compress(part)
        if len(packed) > LARGEST_EMBEDDED_BYTES:
            return record
        yield Progress(0, 1, "Recording")
    packed += packing.flush()
    if len(packed) <= LARGEST_EMBEDDED_BYTES:
        record["zlib"] = base64.b64encode(packed).decode("ascii")
    return record


def _little_endian_parts(array: np.ndarray) -> Iterator[memoryview]:
    """Cut an array's bytes, in C order and little-endian, into parts of a few megabytes."""
    flat = np.ascontiguousarray(array).reshape(-1)
    step = max(1, PART_BYTES // array.itemsize)
    for start in range(0, flat.size, step):
        yield np.ascontiguousarray(flat[start : start + step], array.dtype.newbyteorder("<")).view(np.uint8).data


def embedded(record: Mapping[str, Any]) -> np.ndarray | None:
    """Return the array kept in a record by `embed`, or None if it was too large to keep."""
    if "zlib" not in record:
        return None
    try:
        dtype = np.dtype(record["dtype"]).newbyteorder("<")
        shape = tuple(int(size) for size in record["shape"])
        if dtype.hasobject:
            raise ValueError("object arrays are not data")
        size = int(np.prod(shape)) * dtype.itemsize
        unpacked = zlib.decompressobj().decompress(base64.b64decode(record["zlib"]), size + 1)
        return np.frombuffer(unpacked, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (ValueError, TypeError, zlib.error) as error:
        raise FileError(f"The record's embedded array is damaged ({error}). Give the array itself.") from error


def make_record(
    method: str,
    parameters: Mapping[str, Any],
    axes: str,
    spacing: tuple[float, ...] | None,
    inputs: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Assemble the record of one run."""
    return {
        "tessera": FORMAT,
        "method": method,
        "parameters": dict(parameters),
        "axes": axes,
        "spacing": None if spacing is None else list(spacing),
        "inputs": dict(inputs),
        **more,
        "versions": versions(),
    }


def check_record(record: Any) -> dict[str, Any]:
    """Return `record` if it is one that this version can replay.

    Raises
    ------
    InputError
        Saying what is missing, or that the record is newer than this version.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"A recipe is a dictionary (or a list of them), but this is a {type(record).__name__}.")
    missing = [key for key in ("tessera", "method", "parameters", "axes") if key not in record]
    if missing:
        raise InputError(f"This is not a Tessera recipe: it has no {', '.join(map(repr, missing))}.")
    if not isinstance(record["tessera"], int):
        raise InputError(f"The recipe is damaged: its format is {record['tessera']!r}, but it should be a number.")
    if record["tessera"] > FORMAT:
        raise InputError(
            f"The recipe has format {record['tessera']}; this version reads up to {FORMAT}. Update napari-tessera."
        )
    for key in ("parameters", "inputs", "region", "blocks", "model", "models"):
        if not isinstance(record.get(key) or {}, Mapping):
            raise InputError(f"The recipe is damaged: its {key!r} should be a dictionary, but is {record[key]!r}.")
    if not all(isinstance(described or {}, Mapping) for described in (record.get("inputs") or {}).values()):
        raise InputError("The recipe is damaged: each of its inputs should be described by a dictionary.")
    return dict(record)
