"""Where a layer has changed, from what napari tells of it."""

import numpy as np
import pytest

from napari_tessera.core.sparse_array import BLOCK_PX, SparseArray
from napari_tessera.gui.autosave.layer_copy import Changes, all_blocks

SHAPE = (3, 2 * BLOCK_PX, 2 * BLOCK_PX)


@pytest.fixture
def layer(viewer):
    """A layer of three planes of four blocks each; the second plane is shown."""
    layer = viewer.add_labels(np.zeros(SHAPE, np.uint8), scale=(2, 0.5, 0.5))
    layer.mode, layer.brush_size = "paint", 4
    viewer.dims.set_current_step(0, 1)
    return layer


@pytest.fixture
def changes(layer, viewer):
    return Changes(layer, viewer)


def test_a_stroke_touches_the_blocks_it_goes_through(layer, changes):
    with layer.block_history():
        layer.paint((1, 5, 5), 2)
        layer.paint((1, BLOCK_PX, 5), 2)
    assert changes.blocks(SHAPE) == {(1, 0, 0), (1, 1, 0)}


def test_a_stroke_under_way_is_told_of(layer, changes):
    with layer.block_history():
        layer._draw(2, (1, 5, 5), (1, 5, 40))
        assert changes.blocks(SHAPE) == {(1, 0, 0)}


def test_a_stroke_on_a_rolled_view_is_told_of(layer, changes, viewer):
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, BLOCK_PX + 20)
    with layer.block_history():
        layer._draw(2, (0, BLOCK_PX + 20, 5), (0, BLOCK_PX + 20, 9))
        assert (0, 1, 0) in changes.blocks(SHAPE)


def test_single_pixels_touch_their_blocks(layer, changes):
    layer.data_setitem((np.array([0, 2]), np.array([3, BLOCK_PX]), np.array([4, BLOCK_PX])), 1)
    assert {(0, 0, 0), (2, 1, 1)} <= changes.blocks(SHAPE)


def test_what_was_told_is_told_once(layer, changes):
    layer.paint((1, 5, 5), 2)
    assert changes.blocks(SHAPE)
    assert not changes.blocks(SHAPE)


def test_undo_shakes_the_layer_where_strokes_were(layer, changes):
    layer.paint((1, 5, 5), 2)
    changes.blocks(SHAPE)
    changes.had_unknown_changes()
    layer.undo()
    assert changes.had_unknown_changes()
    assert changes.undoable() == {(1, 0, 0)}


def test_of_a_sparse_array_only_what_was_written_is_gone_through():
    data = SparseArray((1000, 5000, 5000), np.uint8)
    data[7, 300, 10] = 1
    assert list(all_blocks(data)) == [(7, 1, 0)]
