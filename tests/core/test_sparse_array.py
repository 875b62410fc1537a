"""An array of zeros that takes memory only where it is written."""

import numpy as np
import pytest

from napari_tessera.core.sparse_array import BLOCK_PX, SparseArray

SHAPE = (3, BLOCK_PX + 20, BLOCK_PX + 30)


@pytest.fixture
def both():
    """A sparse array and an ordinary one, with the same numbers on either side of the blocks' faces."""
    sparse, whole = SparseArray(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    for array in (sparse, whole):
        array[1, BLOCK_PX - 2 : BLOCK_PX + 2, BLOCK_PX - 3 : BLOCK_PX + 3] = np.arange(24).reshape(4, 6)
    return sparse, whole


@pytest.mark.parametrize(
    "key",
    [
        1,
        (1, BLOCK_PX, slice(None)),
        (Ellipsis, -30),
        (slice(0, 2), slice(BLOCK_PX - 9, None, 4), slice(None, None, -1)),
        (slice(2, 2), 0, slice(None)),
    ],
)
def test_what_is_read_is_what_an_array_holds(both, key):
    sparse, whole = both
    np.testing.assert_array_equal(sparse[key], whole[key])


def test_single_pixels_are_written_and_read(both):
    pixels = (np.array([1, 0, 1]), np.array([BLOCK_PX, 5, BLOCK_PX - 1]), np.array([BLOCK_PX, 7, 0]))
    for array in both:
        array[pixels] = np.array([40, 50, 60])
    np.testing.assert_array_equal(both[0][pixels], [40, 50, 60])
    np.testing.assert_array_equal(np.asarray(both[0]), both[1])


def test_only_the_blocks_written_to_are_kept():
    huge = SparseArray((1000, 100_000, 100_000), np.uint8)
    huge[7, 5:9, 5:9] = 1
    assert huge.written() == [(slice(7, 8), slice(0, BLOCK_PX), slice(0, BLOCK_PX))]


def test_erased_block_has_no_value_left():
    huge = SparseArray((1000, 100_000, 100_000), np.uint8)
    huge[7, 5:9, 5:9] = 1
    assert huge.any()
    huge[7, 5:9, 5:9] = 0
    assert not huge.any()


def test_reading_beyond_the_end_is_refused():
    with pytest.raises(IndexError, match="no index 3"):
        SparseArray(SHAPE, np.uint8)[3]
