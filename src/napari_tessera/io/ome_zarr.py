"""Read OME-Zarr 0.1 to 0.5 and plain Zarr arrays; write labels and probabilities as OME-Zarr 0.4.

Version 0.4 (Zarr 2) is written because napari-ome-zarr, Fiji, Bio-Formats, QuPath and webKnossos all read it; only the
newer ones of them read version 0.5 (Zarr 3).

No chunk is decompressed to more than its pixels take: a few kilobytes can decompress to gigabytes, and Blosc's C
library crashes on a chunk with a wrong block size.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import os
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import dask.array
import imagecodecs
import numcodecs
import numpy as np
import zarr
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ndarray_copy
from zarr.registry import get_codec_class, register_codec
from zarr.storage import LocalStore

from napari_tessera.core.errors import FileError, visible
from napari_tessera.core.file_checks import check_fits, check_regular, named_file
from napari_tessera.core.spatial import PIXEL, SPATIAL_AXES, Spatial
from napari_tessera.io.image_file import Reading, choose_image, sized, unit_name

CHUNK_NAME = re.compile(r"(c[/.])?\d+([/.]\d+)*")
MOST_CHUNKS = 10**7
LARGEST_METADATA_BYTES = 2**27
LEAST_LIMIT_BYTES = 2**20
LARGEST_ENCODED = 8
"""Largest stored size of a chunk, in sizes of its pixels; a filter may store longer numbers."""
LETTERS = {"time": "T", "channel": "C"}
OLD_AXES = "TCZYX"


def read_zarr(path: Path, level: int, series: int | str | None = None, *, as_labels: bool = False) -> Reading:
    """Read one resolution level as a dask array; with `as_labels`, the only label image of an image if it has one."""
    node = zarr.open(_RegularFiles(path, read_only=True), mode="r")
    if isinstance(node, zarr.Array):
        return _read_array(node)
    metadata = _metadata(node)
    if as_labels and "image-label" not in metadata and (names := _label_names(node)):
        if len(names) > 1:
            raise FileError(f"It holds the label images {', '.join(names)}. Add /labels/NAME to the path.")
        return read_zarr(named_file(path / "labels", names[0]), level)
    if "multiscales" in metadata:
        images = {number: _described(path, node, image) for number, image in enumerate(metadata["multiscales"])}
        choice = choose_image(images, series)
        return choice.told_with(_read_level(path, node, metadata["multiscales"][choice.number], level))
    if scenes := _scenes(node):
        images = {number: _described(path / str(number), scene, image) for number, scene, image in scenes}
        choice = choose_image(images, series)
        return choice.told_with(read_zarr(named_file(path, str(choice.number)), level, as_labels=as_labels))
    raise FileError(_what_it_is(node, metadata))


def _described(path: Path, group: zarr.Group, image: Mapping[str, Any]) -> tuple[str, Sequence[int]]:
    """Return the name of an image and the shape of its finest level."""
    named_file(path, name := str(image["datasets"][0]["path"]))
    array = group.get(name)
    return visible(str(image.get("name") or "")), getattr(array, "shape", ())


def _scenes(group: zarr.Group) -> list[tuple[int, zarr.Group, Mapping[str, Any]]]:
    """Return the images of a group that holds nothing else, by their number, as bioformats2raw writes them."""
    found = []
    for name, member in group.groups():
        images = _metadata(member).get("multiscales")
        if name.isdecimal() and images:
            found.append((int(name), member, images[0]))
    return sorted(found, key=lambda scene: scene[0])


class _RegularFiles(LocalStore):
    """A Zarr store that reads only regular files of a possible size; a pipe or a device would never end."""

    largest_bytes = LARGEST_METADATA_BYTES

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        self._check(key, byte_range)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        self._check(key, byte_range)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    def _check(self, key: str, byte_range: Any) -> None:
        try:
            size = check_regular(f"{self.root}/{key}")
        except (FileNotFoundError, NotADirectoryError):
            return
        if byte_range is None and size > self.largest_bytes:
            raise FileError(f"{self.root}/{key} has {size / 1e6:,.0f} MB, more than a chunk can have.")


def _metadata(group: zarr.Group) -> Mapping[str, Any]:
    """Return the OME metadata: under "ome" since version 0.5, at the top before."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def _label_names(group: zarr.Group) -> list[str]:
    if "labels" not in group or not isinstance(group["labels"], zarr.Group):
        return []
    names = _metadata(group["labels"]).get("labels")
    return [str(name) for name in names] if isinstance(names, list) else []


def _what_it_is(group: zarr.Group, metadata: Mapping[str, Any]) -> str:
    members = sorted(name for name, _ in group.members())[:8]
    example = f"Add the part you want to the path, for example /{members[0]}." if members else ""
    if "plate" in metadata or "well" in metadata:
        return f"It is a plate or well of many images. Add one field to the path, such as /A/1/0. {example}"
    if "labels" in metadata:
        return f"It holds the label images {', '.join(map(str, metadata['labels']))}. Add the name of one to the path."
    return f"It is a Zarr group without OME-Zarr metadata; it holds {', '.join(members) or 'nothing'}. {example}"


def _read_array(array: zarr.Array) -> Reading:
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    letters = "".join(_letter({"name": str(name or "")}) for name in names)
    is_clear = len(set(letters)) == array.ndim and {"Y", "X"} <= set(letters)
    return Reading(_lazily(array), letters if is_clear else None)


def _lazily(array: zarr.Array) -> Any:
    """Return a dask array, unless a damaged shape gives too many chunks to list."""
    pieces = array.shards or array.chunks
    count = prod(-(-side // max(1, piece)) for side, piece in zip(array.shape, pieces, strict=True))
    if count > MOST_CHUNKS:
        raise ValueError(f"its shape {array.shape} gives {count:,} chunks of {pieces}")
    piece_bytes = prod(pieces) * array.dtype.itemsize
    check_fits(piece_bytes)
    _bound_chunks(array, piece_bytes)
    if isinstance(array.store, _RegularFiles):
        _check_chunk_names(array, array.store.root / array.path)
        array.store.largest_bytes = max(LEAST_LIMIT_BYTES, LARGEST_ENCODED * piece_bytes)
    return dask.array.from_zarr(array)


def _check_chunk_names(array: zarr.Array, folder: Path) -> None:
    """Refuse chunks with other names than in the metadata: they would be read as zeros."""
    for inner, _, names in os.walk(folder):
        for name in names:
            key = (Path(inner) / name).relative_to(folder).as_posix()
            if CHUNK_NAME.fullmatch(key) is None:
                continue
            place = tuple(int(number) for number in re.findall(r"\d+", key))
            if len(place) != array.ndim or array.metadata.encode_chunk_key(place) != key:
                raise ValueError(f"its chunk {key} does not have the name that its metadata give")
            return


def _read_level(path: Path, group: zarr.Group, image: Mapping[str, Any], level: int) -> Reading:
    levels = image["datasets"]
    if not 0 <= level < len(levels):
        raise FileError(f"It has the resolution levels 0 to {len(levels) - 1}, but level {level} was requested.")
    named_file(path, name := str(levels[level]["path"]))
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise FileError(f"Its level {level} is not an array.")
    axes = _axes(image, array.ndim)
    letters = "".join(_letter(axis) for axis in axes)
    if len(set(letters)) != array.ndim:
        raise FileError(f"Its metadata names {len(axes)} axes ({letters}), but the array has {array.ndim}.")
    scale, offset = _transform(levels[level], image, array.ndim)
    places = {
        letter: sized(size, unit_name(axis.get("unit")), start, may_be_mirrored=True)
        for letter, axis, size, start in zip(letters, axes, scale, offset, strict=True)
    }
    return Reading(_lazily(array), letters, places, channel_names=_channel_names(group))


def _channel_names(group: zarr.Group) -> tuple[str, ...]:
    """Return the names of the channels; empty unless every channel has one."""
    with suppress(KeyError, TypeError, AttributeError):
        names = tuple(visible(str(each.get("label") or "")) for each in _metadata(group)["omero"]["channels"])
        return names if all(names) else ()
    return ()


def _axes(image: Mapping[str, Any], ndim: int) -> list[Mapping[str, Any]]:
    """Return the axes as dictionaries; version 0.3 has only names, and older ones nothing."""
    axes = image.get("axes") or OLD_AXES[-ndim:].lower()
    return [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]


def _letter(axis: Mapping[str, Any]) -> str:
    name = str(axis.get("name", ""))
    return LETTERS.get(str(axis.get("type", name)), name[:1].upper())


def _transform(dataset: Mapping[str, Any], image: Mapping[str, Any], ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset of a level: its own transformations, then those of the whole image."""
    scale, offset = np.ones(ndim), np.zeros(ndim)
    for holder in (dataset, image):
        for step in holder.get("coordinateTransformations") or ():
            if "scale" in step:
                scale, offset = scale * step["scale"], offset * step["scale"]
            if "translation" in step:
                offset = offset + step["translation"]
    return scale, offset


CHUNK = {"Z": 32, "Y": 512, "X": 512}
LARGEST_LAST_LEVEL = 512


def write_ome_zarr(path: Path, labels: Any, spatial: Spatial, name: str, *, is_labels: bool = True) -> None:
    """Write a label image, or probabilities, with smaller levels made by striding, never averaging.

    `labels` may be a zarr array on disk: it is copied chunk by chunk.
    """
    group = zarr.open_group(path, mode="w", zarr_format=2)
    source, factors = labels, [1] * labels.ndim
    datasets = [_write_level(group, 0, source, spatial, factors)]
    while max(size for axis, size in zip(spatial.axes, source.shape, strict=True) if axis in "YX") > LARGEST_LAST_LEVEL:
        # The first pixel keeps its position, so no level is shifted.
        steps = [2 if axis in "YX" else 1 for axis in spatial.axes]
        level = dask.array.from_zarr(group[str(len(datasets) - 1)])
        source = level[tuple(slice(None, None, step) for step in steps)]
        factors = [factor * step for factor, step in zip(factors, steps, strict=True)]
        datasets.append(_write_level(group, len(datasets), source, spatial, factors))
    axes = [_axis(letter, unit) for letter, unit in zip(spatial.axes, spatial.units, strict=True)]
    image = {"version": "0.4", "name": name, "axes": axes, "datasets": datasets, "type": "nearest"}
    metadata: dict[str, Any] = {"multiscales": [image]}
    if is_labels:
        metadata["image-label"] = {"version": "0.4"}
    group.attrs.update(metadata)


def _write_level(group: zarr.Group, number: int, source: Any, spatial: Spatial, factors: list[int]) -> dict[str, Any]:
    """Copy one level, and return its metadata."""
    chunks = tuple(min(size, CHUNK.get(axis, 1)) for axis, size in zip(spatial.axes, source.shape, strict=True))
    keys: Any = {"name": "v2", "separator": "/"}
    array: Any = group.create_array(
        str(number), shape=source.shape, dtype=source.dtype, chunks=chunks, chunk_key_encoding=keys, fill_value=0
    )
    dask.array.store(dask.array.asarray(source).rechunk(chunks), array, lock=False)
    scale = [size * factor for size, factor in zip(spatial.scale, factors, strict=True)]
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(spatial.translate):
        steps.append({"type": "translation", "translation": list(spatial.translate)})
    return {"path": str(number), "coordinateTransformations": steps}


def _axis(letter: str, unit: str) -> dict[str, str]:
    axis = {"name": letter.lower()}
    if letter in SPATIAL_AXES or letter == "T":
        axis["type"] = "time" if letter == "T" else "space"
    return axis if unit == PIXEL else {**axis, "unit": unit}


BLOSC_HEADER = struct.Struct("<4x3I")
"""Bytes of a Blosc chunk after decompression, of one of its blocks, and of the compressed chunk."""
LZ4_HEADER_BYTES = 4
ROOM_BYTES = 2**16
IN_ZARR_3 = {
    "blosc": "blosc",
    "gzip": "gzip",
    "zstd": "zstd",
    **{f"numcodecs.{name}": name for name in ("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd")},
}
"""Names of the codecs in Zarr 2, by those in Zarr 3."""


def _refuse_larger_chunks() -> None:
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


def _bound_chunks(array: zarr.Array, chunk_bytes: int) -> None:
    """Limit the decompressed chunk size of an array; Zarr 2 does not tell its codecs the size."""
    filters = getattr(array.metadata, "filters", None) or ()
    for codec in (*filters, getattr(array.metadata, "compressor", None)):
        if isinstance(codec, _Bounded):
            codec.allow(chunk_bytes * (LARGEST_ENCODED if filters else 1))


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
        packed = ensure_bytes(buf)
        size = self._size_in_header(packed)
        if self._most is None or (size is not None and size <= self._most):
            return super().decode(packed, out)
        unpacked = self._unpacked(packed, self._most) if size is None else b""
        if max(size or 0, len(unpacked)) > self._most:
            raise ValueError(f"a chunk decompresses to more than the {self._most:,} bytes of its pixels")
        return ndarray_copy(unpacked, out)

    def _size_in_header(self, packed: bytes) -> int | None:
        """Return the decompressed size, if the format has it in its header."""
        return None

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        """Decompress at most one byte over `most`; only for formats without the size in their header."""
        raise NotImplementedError


class BoundedBlosc(_Bounded, numcodecs.Blosc):
    """Blosc with a check of the chunk's header."""

    def _size_in_header(self, packed: bytes) -> int:
        if len(packed) < BLOSC_HEADER.size:
            raise ValueError("a Blosc chunk is cut off")
        n_bytes, block_bytes, packed_bytes = BLOSC_HEADER.unpack_from(packed)
        if block_bytes > n_bytes or packed_bytes != len(packed):
            raise ValueError("a Blosc chunk is damaged or cut off: the sizes in its header do not fit")
        return int(n_bytes)


class BoundedLZ4(_Bounded, numcodecs.LZ4):
    """LZ4, whose size is in front of it."""

    def _size_in_header(self, packed: bytes) -> int:
        return int.from_bytes(packed[:LZ4_HEADER_BYTES], "little")


class BoundedZstd(_Bounded, numcodecs.Zstd):
    """Zstandard, unpacked into memory of a given size, since its header need not have the size."""

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


_refuse_larger_chunks()
