"""The tile arithmetic: write regions partition the image, read regions surround them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_tessera.core.tiles import block_of, tiles


@st.composite
def grids(draw):
    ndim = draw(st.integers(1, 3))
    shape = draw(st.lists(st.integers(1, 20), min_size=ndim, max_size=ndim))
    size = draw(st.lists(st.integers(1, 25), min_size=ndim, max_size=ndim))
    halo = draw(st.lists(st.integers(0, 6), min_size=ndim, max_size=ndim))
    return shape, size, halo


@given(grids())
def test_write_regions_partition_the_image(grid):
    shape, size, halo = grid
    written = np.zeros(shape, int)
    for tile in tiles(shape, size, halo):
        written[tile.write] += 1
    assert (written == 1).all()


@given(grids())
def test_inner_is_the_write_region_seen_from_the_read_region(grid):
    shape, size, halo = grid
    image = np.arange(np.prod(shape)).reshape(shape)
    for tile in tiles(shape, size, halo):
        np.testing.assert_array_equal(image[tile.read][tile.inner], image[tile.write])


def test_read_region_is_the_write_region_and_its_halo_inside_the_image():
    middle = next(tile for tile in tiles((9, 9), (3, 3), (2, 5)) if tile.place == (1, 1))
    assert middle.write == (slice(3, 6), slice(3, 6))
    assert middle.read == (slice(1, 8), slice(0, 9))
    assert middle.next_to(1) == (1, 2)


@given(grids(), st.integers(1, 4))
def test_parts_of_tiles_partition_the_image_and_stay_within_their_block(grid, count):
    shape, size, halo = grid
    written = np.zeros(shape, int)
    for tile in tiles(shape, size, halo, (count,) * len(shape)):
        written[tile.write] += 1
        assert all(
            (part.stop - 1) // side == place
            for part, side, place in zip(tile.write, size, block_of(tile, size), strict=True)
        )
    assert (written == 1).all()


def test_tiles_in_two_parts_are_half_as_long():
    cuts = [tile.write[0] for tile in tiles((10,), (6,), (0,), (2,))]
    assert cuts == [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 10)]
