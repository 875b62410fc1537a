"""Layers to paint on: as large as the image and where it lies, with names and colours, the brush ready."""

import numpy as np
import pytest

from napari_tessera.core.errors import InputError
from napari_tessera.core.sparse_array import SparseArray
from napari_tessera.gui.layers.annotation import (
    PAINTED_BACKGROUND_COLOUR,
    class_names,
    empty_paint,
    new_annotation,
    set_class_names,
)

NAMES = ["background", "membrane", "inside"]


@pytest.fixture
def stack(viewer):
    """A stack in time with a size of its pixels."""
    return viewer.add_image(
        np.random.default_rng(0).random((3, 40, 50)),
        name="cells",
        scale=(2, 0.5, 0.25),
        translate=(1, 2, 3),
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
    )


def test_paint_lies_where_the_image_lies(viewer, stack):
    layer = new_annotation(viewer, stack, "TYX", NAMES, "classes")
    assert layer.name == "cells · annotation"
    assert layer.data.shape == stack.data.shape
    assert not layer.data.any()
    np.testing.assert_array_equal(layer.scale, stack.scale)
    np.testing.assert_array_equal(layer.translate, stack.translate)
    assert layer.units == stack.units
    assert layer.axis_labels == stack.axis_labels


def test_the_brush_is_ready_for_the_first_class(viewer, stack):
    layer = new_annotation(viewer, stack, "TYX", NAMES, "classes")
    assert viewer.layers.selection.active is layer
    assert (layer.mode, layer.selected_label) == ("paint", 2)


def test_colours_have_no_channels_to_paint_on(viewer):
    image = viewer.add_image(np.zeros((40, 50, 3), np.uint8), rgb=True)
    assert new_annotation(viewer, image, "YXC", NAMES, "classes").data.shape == (40, 50)


def test_first_channels_are_left_out(viewer):
    image = viewer.add_image(np.zeros((2, 40, 50)))
    assert new_annotation(viewer, image, "CYX", NAMES, "classes").data.shape == (40, 50)


def test_channels_between_time_and_plane_are_spanned(viewer):
    image = viewer.add_image(np.zeros((4, 2, 40, 50)))
    layer = new_annotation(viewer, image, "TCYX", NAMES, "classes")
    assert layer.data.shape == (4, 1, 40, 50)
    assert viewer.dims.nsteps[0] == 4


def test_the_name_of_a_class_is_told_under_the_mouse(viewer, stack):
    layer = new_annotation(viewer, stack, "TYX", NAMES, "classes")
    viewer.dims.set_current_step(0, 0)
    layer.paint((0, 5, 6), 2)
    world = layer.data_to_world((0, 5, 6))
    assert layer.get_status(world, world=True)["value"].endswith("class: membrane")


def test_classes_can_be_named_anew(viewer, stack):
    layer = new_annotation(viewer, stack, "TYX", NAMES, "classes")
    set_class_names(layer, [*NAMES, "vesicle"])
    assert class_names(layer) == [*NAMES, "vesicle"]
    assert layer.features["class"].tolist() == ["not painted", *NAMES, "vesicle"]


def test_a_layer_of_the_user_has_no_names(viewer):
    assert class_names(viewer.add_labels(np.zeros((4, 5), np.uint8))) is None


def test_background_has_its_colour_in_both_tasks(viewer, stack):
    calm = [int(PAINTED_BACKGROUND_COLOUR[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    for task in ("objects", "classes"):
        layer = new_annotation(viewer, stack, "TYX", NAMES, task)
        np.testing.assert_allclose(layer.get_color(1)[:3], calm, atol=1e-6)


def test_classes_have_colours_of_their_own(viewer, stack):
    layer = new_annotation(viewer, stack, "TYX", NAMES, "classes")
    assert len({tuple(layer.get_color(number)) for number in range(1, 9)}) == 8


def test_many_objects_can_be_painted(viewer, stack):
    layer = new_annotation(viewer, stack, "TYX", (), "objects")
    layer.paint((0, 5, 6), 70_000)
    assert layer.data[0, 5, 6] == 70_000


def test_a_large_image_takes_no_memory_before_it_is_painted():
    paint = empty_paint((200, 20_000, 20_000), np.uint8)
    assert isinstance(paint, SparseArray)
    assert paint.written() == []


def test_painting_on_a_large_image_undoes(viewer):
    layer = viewer.add_labels(empty_paint((200, 2000, 2000), np.uint8))
    layer.paint((0, 1000, 1000), 3)
    assert layer.data[0, 1000, 1000] == 3
    layer.undo()
    assert layer.data[0, 1000, 1000] == 0


def test_a_plane_that_cannot_be_shown_is_refused():
    with pytest.raises(InputError, match="Crop the image"):
        empty_paint((100_000, 100_000), np.uint8)


def test_too_many_classes_are_refused(viewer, stack):
    with pytest.raises(InputError, match="51 classes"):
        new_annotation(viewer, stack, "TYX", [str(number) for number in range(51)], "classes")
    assert len(viewer.layers) == 1


def test_a_layer_of_the_user_is_saved_in_the_background_too(viewer, open_widget, stack):
    own = viewer.add_labels(np.zeros(stack.data.shape, np.uint8), name="mine")
    widget = open_widget("Train")
    widget.pairs.first.paint = own
    assert widget.autosave.is_watching(own)
