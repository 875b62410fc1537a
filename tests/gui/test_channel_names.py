"""Channels by their names in the window, and the note on other images in the file of a layer."""

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QPoint, Qt

from napari_tessera.gui.layers.read import channel_names
from napari_tessera.gui.open_image import ImageOpener
from napari_tessera.io.read import read_image
from tests.gui.test_open_image import answer_with


@pytest.fixture
def stained(tmp_path):
    """An OME-TIFF of two images, each with two named channels."""
    path = tmp_path / "stained.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for side in (24, 32):
            image = np.zeros((2, side, side), np.uint8)
            image[1, 4:12, 4:12] = 200
            names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "actin"]}}
            file.write(image, photometric="minisblack", metadata=names)
    return path


def names_shown(field):
    return [field.native.itemText(place) for place in range(field.native.count())]


def test_channels_have_the_names_that_the_file_gives(stained):
    assert read_image(stained).channel_names == ("DAPI", "actin")


def test_a_channel_is_chosen_by_its_name_with_the_keys(viewer, open_widget, stained, run, qtbot):
    answer_with(0)
    opener = ImageOpener(viewer, [stained])
    qtbot.waitUntil(lambda: not opener._left, timeout=60_000)
    widget = open_widget("Threshold")
    field = widget.form.fields["channel"]
    assert names_shown(field) == ["all together", "DAPI", "actin"]
    viewer.window._qt_window.show()
    field.native.setFocus()
    qtbot.keyClicks(field.native, "a")  # goes to the next entry that begins with it
    qtbot.keyClicks(field.native, "c")
    assert field.value == 1
    run(widget)
    assert viewer.layers[-1].metadata["tessera"]["parameters"]["channel"] == 1


def test_channels_without_names_are_numbered_and_colours_are_named(viewer, open_widget):
    viewer.add_image(np.zeros((2, 16, 16)), name="two")
    widget = open_widget("Threshold")
    widget.inputs.axes_box.value = "CYX"
    field = widget.form.fields["channel"]
    assert names_shown(field) == ["all together", "channel 0", "channel 1"]
    field.value = 1
    viewer.add_image(np.zeros((16, 16, 3), np.uint8), rgb=True, name="colours")
    assert names_shown(field) == ["all together", "red", "green", "blue"]
    assert field.value == 1
    field.value = 5  # of a recipe for another image
    assert names_shown(field)[-1] == "channel 5"


def test_of_a_file_that_napari_opened_the_other_images_are_offered(viewer, open_widget, stained, qtbot):
    [layer] = viewer.open(stained, plugin="napari")
    widget = open_widget("Watershed")
    viewer.window._qt_window.show()
    note = widget.inputs.other_images
    qtbot.waitUntil(note.isVisible, timeout=60_000)
    assert "holds 2 images" in note.text()
    assert channel_names(layer, "CYX") == ("DAPI", "actin")
    answer_with(1)
    hits: list[str] = []
    note.linkActivated.connect(hits.append)
    for place in range(note.width() * note.height() // 120):  # click along the lines until the link is hit
        y, x = divmod(20 * place, note.width())
        if not hits:
            qtbot.mouseClick(note, Qt.MouseButton.LeftButton, pos=QPoint(x, 6 * y))
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=60_000)
    assert viewer.layers[-1].data.shape == (2, 32, 32)
    assert widget.inputs.main.layer is viewer.layers[-1]
    assert note.isHidden()
