"""Chunks of Zarr that Blosc has packed: what they say of themselves is looked at before they are unpacked.

The C library believes a chunk that names a block larger than all it holds, and ends the process.
"""

from __future__ import annotations

import struct
from typing import Any

import numcodecs
import zarr
from numcodecs.blosc import Blosc
from numcodecs.compat import ensure_bytes
from zarr.codecs import BloscCodec
from zarr.registry import register_codec

HEADER = struct.Struct("<4x3I")
"""The bytes that a chunk unpacks to, those of a block of it, and those that it has itself."""


def refuse_damaged_chunks() -> None:
    """Let this process unpack no Blosc chunk whose header cannot be right."""
    numcodecs.register_codec(CheckedBlosc)
    register_codec("blosc", CheckedBloscCodec)
    zarr.config.set({"codecs.blosc": f"{CheckedBloscCodec.__module__}.{CheckedBloscCodec.__qualname__}"})


def check_chunk(chunk: bytes) -> None:
    """Raise a `ValueError` unless the header of a chunk can be right."""
    if len(chunk) < HEADER.size:
        raise ValueError("a Blosc chunk is cut off")
    n_bytes, block_bytes, packed_bytes = HEADER.unpack_from(chunk)
    if block_bytes > n_bytes or packed_bytes != len(chunk):
        raise ValueError("a Blosc chunk is damaged or cut off: the sizes in its header do not fit")


class CheckedBlosc(Blosc):
    """Blosc as Zarr 2 names it."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a chunk whose header can be right."""
        check_chunk(ensure_bytes(buf))
        return super().decode(buf, out)


class CheckedBloscCodec(BloscCodec):
    """Blosc as Zarr 3 names it."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        check_chunk(chunk_bytes.to_bytes())
        return await super()._decode_single(chunk_bytes, chunk_spec)
