"""Where to paint next: places where the model is least sure, on whatever plane, one after the other."""

import subprocess
import sys

import numpy as np
import pytest
from napari.utils.colormaps.standardize_color import transform_color

from napari_tessera.gui.layers.annotation import new_annotation
from napari_tessera.gui.layers.read import camera_of
from napari_tessera.gui.train.suggestions import CERTAIN, COLOUR_HERE, PaintNext, SuggestionRequest, regions_layer
from napari_tessera.training.active_learning import UncertainRegion
from tests.helpers.tiny_models import save_bright

SPOT = (slice(60, 84), slice(90, 114))


def half_bright():
    """Dark on the left, bright on the right, and on the last of three planes a spot of half brightness."""
    image = np.zeros((3, 96, 128), np.uint8)
    image[..., 64:] = 200
    image[(2, *SPOT)] = 100
    return image


@pytest.fixture
def model(tmp_path):
    """A model that calls bright what is above half brightness, and knows nothing at half brightness."""
    return save_bright(tmp_path / "bright.safetensors", diameter_px=20)


@pytest.fixture
def image(viewer):
    return viewer.add_image(half_bright(), name="cells", scale=(2, 0.5, 0.5), units=("um",) * 3)


@pytest.fixture
def box(viewer, image, model, qtbot):
    """The box, with an annotation of the image."""
    annotation = new_annotation(viewer, image, "ZYX", ["background", "cell"], "classes")
    box = PaintNext(viewer, lambda: SuggestionRequest(image, "ZYX", model, annotation, diameter_px=20))
    qtbot.addWidget(box)
    box.show()
    yield box
    box.runner.cancel()
    box.runner.wait(1)


@pytest.fixture
def find(qtbot):
    """Press the button, and wait for the places."""

    def find_places(box):
        box.find_button.click()
        qtbot.waitUntil(lambda: not box.runner.is_running and box.progress_bar.isHidden(), timeout=60_000)

    return find_places


def test_the_first_place_comes_into_view(box, find, viewer):
    find(box)
    assert viewer.dims.current_step[0] == 2
    y, x = np.array(camera_of(viewer).center[-2:]) / 0.5
    assert SPOT[0].start < y < SPOT[0].stop
    assert SPOT[1].start < x < SPOT[1].stop
    assert "Place 1 of" in box.message.text()


def test_places_lie_where_the_image_lies(box, find, image):
    find(box)
    np.testing.assert_array_equal(box.layer.scale, image.scale)
    assert box.layer.units == image.units
    assert box.layer.name == "cells · paint next"


def test_places_are_in_order_of_doubt(box, find):
    find(box)
    unsure = box.layer.features["unsure"].tolist()
    assert unsure == sorted(unsure, reverse=True)


def test_next_goes_round(box, find):
    find(box)
    count = len(box.layer.data)
    seen = [box.current]
    for _ in range(count):
        box.next_button.click()
        seen.append(box.current)
    assert seen == [*range(count), 0]


def test_the_place_in_view_stands_out(box, find):
    find(box)
    (here,) = transform_color(COLOUR_HERE)
    assert [np.allclose(colour, here) for colour in box.layer.edge_color] == [
        number == box.current for number in range(len(box.layer.data))
    ]


def test_the_annotation_stays_ready_to_be_painted(box, find, viewer):
    find(box)
    assert viewer.layers.selection.active.name == "cells · annotation"


def test_places_found_again_replace_the_old_ones(box, find, viewer):
    find(box)
    find(box)
    assert [layer.name for layer in viewer.layers].count("cells · paint next") == 1


def test_a_deleted_layer_of_places_is_no_trouble(box, find, viewer):
    find(box)
    viewer.layers.remove(box.layer)
    box.next_button.click()
    assert "again" in box.message.text()


def test_a_model_that_is_sure_says_so(box, find, image):
    image.data = np.where(half_bright() == 100, 0, half_bright()).astype(np.uint8)
    find(box)
    assert box.layer is None
    assert box.message.text() == CERTAIN


def test_a_model_that_is_gone_is_a_kind_sentence(box, find, model):
    model.unlink()
    find(box)
    assert "Train one" in box.message.text()


def test_a_damaged_model_is_a_kind_sentence(box, find, model):
    model.write_bytes(b"no model")
    find(box)
    assert "bright.safetensors" in box.message.text()
    assert "should not have happened" not in box.message.text()


def test_a_double_click_looks_and_does_not_cancel(box, qtbot, viewer):
    box.find_button.click()
    box.find_button.click()
    qtbot.waitUntil(lambda: not box.runner.is_running, timeout=60_000)
    assert box.message.text() != "Cancelled."


def test_looking_can_be_cancelled(box, qtbot, viewer):
    box.find_button.click()
    box.press()
    qtbot.waitUntil(lambda: box.message.text() == "Cancelled.", timeout=30_000)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells · annotation"]


@pytest.mark.parametrize(
    ("axes", "shape", "corner"),
    [("YX", (40, 50), (7.5, 15.5)), ("CYX", (2, 40, 50), (7.5, 15.5)), ("TCYX", (4, 2, 40, 50), (3, 0, 7.5, 15.5))],
)
def test_places_have_the_axes_of_the_annotation(axes, shape, corner, viewer):
    image = viewer.add_image(np.zeros(shape))
    place = (3,) if "T" in axes else ()
    layer = regions_layer([UncertainRegion(place, (slice(8, 16), slice(16, 24)), 0.5)], image, axes, 2)
    np.testing.assert_array_equal(layer.data[0][0], corner)
    assert layer.ndim == new_annotation(viewer, image, axes, (), "classes").ndim


def test_of_colours_places_are_those_of_the_plane(viewer):
    image = viewer.add_image(np.zeros((40, 50, 3), np.uint8), rgb=True)
    layer = regions_layer([UncertainRegion((), (slice(8, 16), slice(16, 24)), 0.5)], image, "YXC", 2)
    np.testing.assert_array_equal(layer.data[0][2], (15.5, 23.5))


def test_the_box_opens_without_torch():
    code = "import sys, napari_tessera.gui.train.suggestions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
