"""Tables of tiles put together: of an object that two tiles saw, what the one says that holds most of it."""

import numpy as np

from napari_tessera.core.tiles import tiles
from napari_tessera.engine import block_joining as joining
from napari_tessera.engine.block_joining import join_tables

SHAPE = (1, 8)
IMAGE = np.array([[1, 0, 0, 2, 2, 2, 2, 0]])
"""An object on the left, and one of which three pixels lie in the right tile and one in the left."""


def joined(left, right, smallest_px=0):
    """Join the tables of two tiles that decide four columns each, and see two more."""
    grid = list(tiles(SHAPE, (1, 4), (0, 2)))
    seen = [np.unique(IMAGE[tile.read], return_inverse=True)[1].reshape(1, -1) for tile in grid]
    pieces = [
        joining.describe_block(labels, tile, SHAPE, with_faces=True) for labels, tile in zip(seen, grid, strict=True)
    ]
    offsets, total = joining.label_offsets(pieces)
    pairs = joining.same_objects(pieces, offsets, {tile.place: tile for tile in grid})
    numbering = joining.number_objects(pieces, offsets, total, pairs)
    final = joining.without_small(numbering.sizes, smallest_px)
    return join_tables([left, right], pieces, grid, numbering, final)


LEFT = {"label": np.array([1, 2]), "score": np.array([0.7, 0.5]), "box_x0": np.array([0.0, 3.0])}
RIGHT = {"label": np.array([1]), "score": np.array([0.9]), "box_x0": np.array([1.0])}


def test_the_tile_that_holds_most_of_an_object_speaks_for_it():
    assert joined(LEFT, RIGHT)["score"].tolist() == [0.7, 0.9]


def test_boxes_are_counted_from_the_first_pixel_of_the_image():
    assert joined(LEFT, RIGHT)["box_x0"].tolist() == [0, 3]


def test_objects_that_are_dropped_have_no_row():
    assert joined(LEFT, RIGHT, smallest_px=2)["score"].tolist() == [0.9]


def test_methods_that_say_nothing_have_no_table():
    assert joined({}, {}) == {}
    assert joined({"label": np.array([1, 2])}, {"label": np.array([1])}) == {}
