"""Decompress chunks of Zarr arrays without exceeding the chunk size.

A few kilobytes can decompress to gigabytes, and Blosc's C library crashes on a chunk with a wrong block size.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import struct
import zlib
from contextlib import suppress
from math import prod
from typing import Any

import imagecodecs
import numcodecs
import zarr
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ndarray_copy
from zarr.registry import get_codec_class, register_codec

HEADER = struct.Struct("<4x3I")
"""Bytes of a Blosc chunk after decompression, of one of its blocks, and of the compressed chunk."""
LZ4_HEADER_BYTES = 4
LARGEST_FILTERED = 8
"""Largest stored size of a chunk, in sizes of its pixels; a filter of Zarr 2 may store longer numbers."""
ROOM_BYTES = 2**16
IN_ZARR_3 = {
    "blosc": "blosc",
    "gzip": "gzip",
    "zstd": "zstd",
    **{f"numcodecs.{name}": name for name in ("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd")},
}
"""Names of the codecs in Zarr 2, by those in Zarr 3."""


def refuse_larger_chunks() -> None:
    """In this process, refuse Zarr 3 chunks that decompress to too much, and Blosc chunks with a wrong header."""
    for codec in (BoundedBlosc, BoundedBZ2, BoundedGZip, BoundedLZ4, BoundedLZMA, BoundedZlib, BoundedZstd):
        numcodecs.register_codec(codec)
    chosen = dict(zarr.config.get("codecs"))
    for key, name in IN_ZARR_3.items():
        with suppress(KeyError):  # an older Zarr does not have all of them
            chosen[key] = _register(key, name)
    zarr.config.set({"codecs": chosen})


def _register(key: str, name: str) -> str:
    """Register a bounded codec with Zarr 3, and return its import path."""
    made = type(f"Bounded_{key.replace('.', '_')}", (_BoundedCodec, get_codec_class(key)), {"packing": name})
    made.__module__ = __name__
    globals()[made.__name__] = made  # for pickle
    register_codec(key, made)
    return f"{__name__}.{made.__name__}"


def bound_chunks(array: zarr.Array, chunk_bytes: int) -> None:
    """Limit the decompressed chunk size of an array; Zarr 2 does not tell its codecs the size."""
    filters = getattr(array.metadata, "filters", None) or ()
    for codec in (*filters, getattr(array.metadata, "compressor", None)):
        if isinstance(codec, _Bounded):
            codec.allow(chunk_bytes * (LARGEST_FILTERED if filters else 1))


class _Bounded(Codec):
    """A codec of Zarr 2 that decompresses no chunk to more than `allow` permits."""

    _chunk_bytes = 0
    _most: int | None = None

    def allow(self, chunk_bytes: int) -> None:
        """Set the bytes of a chunk; already compressed data inside may be larger."""
        self._chunk_bytes = chunk_bytes
        self._most = 2 * chunk_bytes + ROOM_BYTES

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decompress a chunk. Raises `ValueError` if it decompresses to more than it can hold, or is truncated."""
        if self._most is None:
            return super().decode(buf, out)
        unpacked = self._unpacked(ensure_bytes(buf), self._most)
        if len(unpacked) > self._most:
            raise self._refusal()
        return ndarray_copy(unpacked, out)

    def _check_size(self, n_bytes: int) -> None:
        if self._most is not None and n_bytes > self._most:
            raise self._refusal()

    def _refusal(self) -> ValueError:
        return ValueError(f"a chunk decompresses to more than the {self._most:,} bytes of its pixels")

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        """Decompress at most one byte over `most`."""
        raise NotImplementedError


class BoundedBlosc(_Bounded, numcodecs.Blosc):
    """Blosc with a check of the chunk's header."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a chunk whose header can be right."""
        packed = ensure_bytes(buf)
        if len(packed) < HEADER.size:
            raise ValueError("a Blosc chunk is cut off")
        n_bytes, block_bytes, packed_bytes = HEADER.unpack_from(packed)
        if block_bytes > n_bytes or packed_bytes != len(packed):
            raise ValueError("a Blosc chunk is damaged or cut off: the sizes in its header do not fit")
        self._check_size(n_bytes)
        return numcodecs.Blosc.decode(self, packed, out)


class BoundedLZ4(_Bounded, numcodecs.LZ4):
    """LZ4; the size before it is looked at first."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a chunk of a size that can be right."""
        packed = ensure_bytes(buf)
        self._check_size(int.from_bytes(packed[:LZ4_HEADER_BYTES], "little"))
        return numcodecs.LZ4.decode(self, packed, out)


class BoundedZstd(_Bounded, numcodecs.Zstd):
    """Zstandard, unpacked into memory of a given size, since it need not say how much it holds."""

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        with suppress(imagecodecs.ZstdError):
            return bytes(imagecodecs.zstd_decode(packed, out=self._chunk_bytes))  # usual, and spares a copy
        try:
            return bytes(imagecodecs.zstd_decode(packed, out=most))
        except imagecodecs.ZstdError as error:
            raise ValueError(f"a chunk is damaged, or decompresses to more than {most:,} bytes ({error})") from error


class BoundedZlib(_Bounded, numcodecs.Zlib):
    """Deflate with zlib's header."""

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(packed, most + 1)
        if len(unpacked) <= most and not unpacker.eof:
            raise ValueError("a chunk is cut off")
        return unpacked


class BoundedGZip(_Bounded, numcodecs.GZip):
    """Deflate with gzip's header."""

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        return gzip.GzipFile(fileobj=io.BytesIO(packed)).read(most + 1)


class BoundedBZ2(_Bounded, numcodecs.BZ2):
    """The bzip2 format."""

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        return bz2.BZ2File(io.BytesIO(packed)).read(most + 1)


class BoundedLZMA(_Bounded, numcodecs.LZMA):
    """The xz format, and others of LZMA."""

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        return lzma.LZMAFile(io.BytesIO(packed), format=self.format, filters=self.filters).read(most + 1)


class _BoundedCodec:
    """A codec as Zarr 3 names it, which unpacks no chunk to more than its pixels take."""

    packing: str

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        codec = numcodecs.get_codec(getattr(self, "codec_config", {"id": self.packing}))
        if (item_bytes := getattr(chunk_spec.dtype, "item_size", None)) is not None:  # None for texts of any length
            codec.allow(prod(chunk_spec.shape) * item_bytes)
        return chunk_spec.prototype.buffer.from_bytes(codec.decode(chunk_bytes.to_bytes()))

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)
