"""The buttons "New points layer" and "New seeds layer" (or markers), by mouse and keys in a real viewer."""

import numpy as np
import pytest
from napari.layers import Labels, Points
from qtpy.QtCore import QPoint, Qt

from napari_tessera.engine import api
from tests.helpers.scenes import blobs

LEFT = Qt.MouseButton.LeftButton
SHIFTED = {"scale": (0.5, 2.0), "translate": (10, -20), "rotate": 30, "units": ("um", "um"), "axis_labels": ("y", "x")}


@pytest.fixture
def click_at(shown, qtbot):
    """Click with the mouse on the canvas, at a pixel of a layer."""

    def click(layer, pixel):
        canvas = shown.window._qt_viewer.canvas
        qtbot.wait(100)
        y, x = np.asarray(layer.data_to_world(pixel))[-2:]
        across, down = canvas.view.scene.transform.map((x, y, 0, 1))[:2]
        at = QPoint(round(across), round(down))
        qtbot.mouseMove(canvas.native, at)
        qtbot.mouseClick(canvas.native, LEFT, pos=at)
        qtbot.wait(50)

    return click


def test_points_button_adds_a_layer_on_the_image_and_clicks_set_seeds(shown, open_widget, run, qtbot, click_at):
    image = shown.add_image(blobs(), name="blobs", **SHIFTED)
    widget = open_widget("Region growing")
    qtbot.mouseClick(widget.inputs.mark_buttons[0].points_button, LEFT)
    seeds = widget.inputs.boxes["seeds"].layer
    assert isinstance(seeds, Points)
    assert seeds is shown.layers.selection.active
    assert (seeds.mode, seeds.units, seeds.axis_labels) == ("add", image.units, image.axis_labels)
    np.testing.assert_allclose(seeds.data_to_world((3, 4)), image.data_to_world((3, 4)))
    click_at(image, (5, 6))
    click_at(image, (14, 16))
    np.testing.assert_allclose(seeds.data, [[5, 6], [14, 16]], atol=0.6)
    run(widget)
    assert [shown.layers[-1].data[pixel] for pixel in ((5, 6), (14, 16))] == [1, 2]


def test_seeds_button_adds_a_layer_on_the_image_and_strokes_are_seeds(shown, open_widget, run, qtbot, click_at):
    image = shown.add_image(blobs(), name="blobs", **SHIFTED)
    widget = open_widget("Region growing")
    qtbot.mouseClick(widget.inputs.mark_buttons[0].labels_button, LEFT)
    seeds = widget.inputs.boxes["seeds"].layer
    assert isinstance(seeds, Labels)
    assert seeds is shown.layers.selection.active
    assert (seeds.mode, seeds.units, seeds.axis_labels) == ("paint", image.units, image.axis_labels)
    np.testing.assert_allclose(seeds.data_to_world((3, 4)), image.data_to_world((3, 4)))
    click_at(image, (5, 6))
    qtbot.keyClick(shown.window._qt_viewer.canvas.native, Qt.Key.Key_M)
    click_at(image, (14, 16))
    assert (seeds.data[5, 6], seeds.data[14, 16]) == (1, 2)
    run(widget)
    assert [shown.layers[-1].data[pixel] for pixel in ((5, 6), (14, 16))] == [1, 2]


@pytest.mark.parametrize("button", ["points_button", "labels_button"])
def test_empty_markers_layer_means_that_markers_are_found(shown, open_widget, run, qtbot, button):
    shown.add_image(blobs(), name="blobs")
    widget = open_widget("Watershed")
    qtbot.mouseClick(getattr(widget.inputs.mark_buttons[0], button), LEFT)
    assert widget.inputs.boxes["markers"].layer.name == "blobs · markers"
    run(widget)
    np.testing.assert_array_equal(shown.layers[-1].data, api.segment("watershed", blobs()).labels)
    assert "holds no point and no painted pixel" in widget.bar.message.text()


def test_points_of_a_film_lie_in_the_frame_shown(shown, open_widget, run, qtbot, click_at):
    film = shown.add_image(np.stack([blobs()] * 3), name="film", axis_labels=("t", "y", "x"))
    widget = open_widget("Watershed")
    shown.dims.set_point(0, 1)
    qtbot.mouseClick(widget.inputs.mark_buttons[0].points_button, LEFT)
    click_at(film, (1, 14, 16))
    np.testing.assert_allclose(widget.inputs.boxes["markers"].layer.data, [[1, 14, 16]], atol=0.6)
    run(widget)
    assert [frame.max() for frame in shown.layers[-1].data] == [0, 1, 0]


@pytest.mark.parametrize(
    ("shape", "options", "axes", "shape_of_labels"),
    [
        ((20, 24, 3), {"rgb": True}, "YXC", (20, 24)),
        ((2, 20, 24), {}, "CYX", (20, 24)),
        ((4, 2, 20, 24), {}, "TCYX", (4, 1, 20, 24)),
    ],
)
def test_layers_of_marks_have_no_channels(shown, open_widget, shape, options, axes, shape_of_labels):
    image = shown.add_image(np.zeros(shape, np.uint8), name="image", **options)
    widget = open_widget("Watershed")
    widget.inputs.axes_box.value = axes
    buttons = widget.inputs.mark_buttons[0]
    buttons.add_labels()
    assert widget.inputs.boxes["markers"].layer.data.shape == shape_of_labels
    buttons.add_points()
    points = widget.inputs.boxes["markers"].layer
    assert points.ndim == len(shape_of_labels)
    points.add([(0,) * (points.ndim - 2) + (3, 4)])
    given = widget.inputs.arrays(widget.form.values)["markers"]
    assert given.tolist() == [[0] * (len(axes.replace("C", "")) - 2) + [3, 4]]
    assert image in shown.layers


def test_without_an_image_the_button_says_what_is_missing(shown, open_widget, qtbot):
    widget = open_widget("Region growing")
    qtbot.mouseClick(widget.inputs.mark_buttons[0].points_button, LEFT)
    assert "Open an image first" in widget.bar.message.text()
    assert len(shown.layers) == 0


def test_run_without_seeds_says_which_button_adds_them(shown, open_widget, run):
    shown.add_image(blobs(), name="blobs")
    widget = open_widget("Region growing")
    run(widget)
    assert 'Press "New points layer"' in widget.bar.message.text()
