"""A damaged Blosc chunk is refused; the C library would end the process."""

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec

from napari_tessera.errors import FileError
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
