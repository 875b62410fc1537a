"""Make the record of a run: plain JSON with all that a replay needs to give the same labels."""

from __future__ import annotations

import base64
import hashlib
import math
import platform
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from napari_tessera.core.errors import FileError
from napari_tessera.core.jobs import Job, Progress

FORMAT = 1
LARGEST_EMBEDDED_BYTES = 1_000_000
DEEPEST = 300
"""Nesting of a record's JSON: an input made by a run on an input made by a run takes three levels."""
PART_BYTES = 2**22
ZLIB_LEVEL = 3
CORE_PACKAGES = ("napari-tessera", "numpy", "scipy", "scikit-image", "numba", "fastremap", "torch")
_version = cache(version)
"""Reading the files of a package takes milliseconds; a missing one is searched again."""


def versions() -> dict[str, str]:
    """Return the versions of Python, the system and the packages that affect a result."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in CORE_PACKAGES:
        try:
            found[package] = _version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Return the time as an ISO 8601 text in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def described(array: np.ndarray) -> Job[dict[str, Any]]:
    """Return shape, dtype and SHA-256 of an array's pixels in C order; no hash if it is not in memory."""
    digest = None
    if isinstance(array, np.ndarray):
        hashing = hashlib.sha256()
        for part in _little_endian_parts(array):
            hashing.update(part)
            yield Progress(0, 1, "Recording")
        digest = hashing.hexdigest()
    return {"shape": list(map(int, array.shape)), "dtype": np.dtype(array.dtype).str.lstrip("<>|="), "sha256": digest}


def embed(array: np.ndarray) -> Job[dict[str, Any]]:
    """Describe an array and, if it compresses well (annotation, seeds), keep its values in the record."""
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
    """Return the array kept by `embed` in the record of an input, or None; refuse one that differs from its SHA-256."""
    if record.get("zlib") is None:
        return None
    try:
        dtype = np.dtype(record["dtype"]).newbyteorder("<")
        size = math.prod(record["shape"]) * dtype.itemsize
        unpacked = zlib.decompressobj().decompress(base64.b64decode(record["zlib"], validate=True), size + 1)
        if record.get("sha256") not in (None, hashlib.sha256(unpacked).hexdigest()):
            raise ValueError("its SHA-256 differs")
        return np.frombuffer(unpacked, dtype).reshape(record["shape"]).astype(dtype.newbyteorder("="))
    except (ValueError, MemoryError, zlib.error) as error:
        raise FileError(f"The record's embedded array is damaged ({error}). Give the array itself.") from error


def make_record(
    method: str,
    parameters: Mapping[str, Any],
    axes: str,
    spacing: tuple[float, ...] | None,
    inputs: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Make the record of one run."""
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
