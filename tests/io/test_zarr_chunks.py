"""A damaged Blosc chunk is refused, and none is unpacked to more than it can hold."""

import pickle
import tracemalloc
from importlib import import_module

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from napari_tessera.core.errors import FileError
from napari_tessera.io import read_image
from napari_tessera.io.read import load

IMAGE = np.arange(480, dtype=np.uint16).reshape(20, 24)
PACKING = {2: numcodecs.Blosc("lz4"), 3: BloscCodec(cname="lz4")}
BLOCK_BYTES = slice(8, 12)


@pytest.fixture(params=PACKING)
def stored(request, tmp_path):
    """A Zarr array of one chunk, packed by Blosc, and the file of the chunk."""
    path = tmp_path / "a.zarr"
    options = {"chunks": IMAGE.shape, "zarr_format": request.param, "compressors": PACKING[request.param]}
    zarr.create_array(path, data=IMAGE, **options)
    return path, path / ("0.0" if request.param == 2 else "c/0/0")


def test_a_sound_chunk_is_read(stored):
    np.testing.assert_array_equal(load(read_image(stored[0])).data, IMAGE)


def test_a_block_larger_than_its_chunk_is_refused(stored):
    path, chunk = stored
    content = bytearray(chunk.read_bytes())
    content[BLOCK_BYTES] = (2**27).to_bytes(4, "little")
    chunk.write_bytes(content)
    with pytest.raises(FileError, match="a Blosc chunk is damaged"):
        load(read_image(path))


@pytest.mark.parametrize("n_bytes", [5, 100])
def test_a_chunk_that_is_cut_off_is_refused(stored, n_bytes):
    path, chunk = stored
    chunk.write_bytes(chunk.read_bytes()[:n_bytes])
    with pytest.raises(FileError, match=r"a Blosc chunk is .*cut off"):
        load(read_image(path))


N_BYTES = 2**24
BLOCK = 2**17
NAMES = ["blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"]
SMALL_WINDOW = {"preset": 0}


def unsized(n_bytes):
    """Return a Zstandard frame of sevens, whose header does not say how many."""
    frame = b"\x28\xb5\x2f\xfd\x00\x58"  # magic number, nothing said, window of 2 MB
    for start in range(0, n_bytes, BLOCK):
        left = n_bytes - start
        is_last, is_run = left <= BLOCK, 1
        frame += (is_last | is_run << 1 | min(left, BLOCK) << 3).to_bytes(3, "little") + b"\7"
    return frame


def packing(name, zarr_format):
    """Return a compressor, and what packs bytes as it does."""
    packs = numcodecs.get_codec({"id": name, **(SMALL_WINDOW if name == "lzma" else {})})
    if zarr_format == 2:
        return packs, packs
    if zarr_format == "3, as specified":
        return {"blosc": BloscCodec, "gzip": GzipCodec, "zstd": ZstdCodec}[name](), packs
    return getattr(import_module("zarr.codecs.numcodecs"), type(packs).__name__.removeprefix("Bounded"))(), packs


def write_packed(path, name, zarr_format):
    """Write an array of one chunk; return the file of the chunk, and what packs bytes as that is packed."""
    compressor, packs = packing(name, zarr_format)
    number = 2 if zarr_format == 2 else 3
    zarr.create_array(path, data=IMAGE, chunks=IMAGE.shape, zarr_format=number, compressors=compressor)
    return path / ("0.0" if number == 2 else "c/0/0"), packs


PACKED = [(name, way) for name in NAMES for way in (2, 3)] + [
    (name, "3, as specified") for name in ("blosc", "gzip", "zstd")
]


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize(("name", "zarr_format"), PACKED)
def test_packed_chunks_are_read(tmp_path, name, zarr_format):
    write_packed(tmp_path / "a.zarr", name, zarr_format)
    np.testing.assert_array_equal(load(read_image(tmp_path / "a.zarr")).data, IMAGE)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize(("name", "zarr_format"), PACKED)
def test_a_chunk_that_unpacks_to_more_than_it_holds_takes_no_memory(tmp_path, name, zarr_format):
    chunk, packs = write_packed(tmp_path / "a.zarr", name, zarr_format)
    chunk.write_bytes(bytes(packs.encode(bytes(N_BYTES))))
    picture = read_image(tmp_path / "a.zarr")
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="decompresses to more than"):
            load(picture)
        assert tracemalloc.get_traced_memory()[1] < N_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("zarr_format", [2, "3, as specified"])
def test_a_zstandard_chunk_that_does_not_say_its_size_is_read_and_bounded(tmp_path, zarr_format):
    chunk, _ = write_packed(tmp_path / "a.zarr", "zstd", zarr_format)
    chunk.write_bytes(unsized(IMAGE.nbytes))
    assert (load(read_image(tmp_path / "a.zarr")).data == 0x0707).all()
    chunk.write_bytes(unsized(N_BYTES))
    with pytest.raises(FileError, match="decompresses to more than"):
        load(read_image(tmp_path / "a.zarr"))


def test_a_chunk_packed_twice_is_read(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE, chunks=IMAGE.shape, compressors=[GzipCodec(), ZstdCodec()])
    np.testing.assert_array_equal(load(read_image(tmp_path / "a.zarr")).data, IMAGE)


def test_a_filter_may_store_longer_numbers(tmp_path):
    longer = numcodecs.AsType("f8", "u2")
    options = {"filters": [longer], "compressors": numcodecs.Zlib(), "zarr_format": 2}
    image = np.random.default_rng(0).integers(0, 2**16, (256, 256), np.uint16)
    zarr.create_array(tmp_path / "a.zarr", data=image, chunks=image.shape, **options)
    np.testing.assert_array_equal(load(read_image(tmp_path / "a.zarr")).data, image)


def test_shards_are_read(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE, chunks=(5, 6), shards=(10, 12), compressors=ZstdCodec())
    np.testing.assert_array_equal(load(read_image(tmp_path / "a.zarr")).data, IMAGE)


@pytest.mark.parametrize("zarr_format", [2, "3, as specified"])
def test_an_image_is_read_in_another_process(tmp_path, zarr_format):
    write_packed(tmp_path / "a.zarr", "zstd", zarr_format)
    data = pickle.loads(pickle.dumps(read_image(tmp_path / "a.zarr").data))
    np.testing.assert_array_equal(data.compute(), IMAGE)
