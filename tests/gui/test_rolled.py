"""The viewer's axes are rolled: it then shows another plane than the one that methods work on."""

import pytest

from tests.helpers.scenes import blobs

ROLLED = "The viewer shows the axes Z and X"


@pytest.fixture
def widget(viewer, open_widget):
    viewer.add_image(blobs(3), name="blobs")
    return open_widget("Threshold")


def _previews(viewer):
    return [layer.name for layer in viewer.layers if layer.name.endswith("preview")]


def test_current_plane_only_is_refused_where_another_plane_is_shown(viewer, widget, run):
    viewer.dims.order = (1, 0, 2)
    widget.region.plane_only.value = True
    run(widget)
    assert ROLLED in widget.bar.message.text()
    assert len(viewer.layers) == 1


def test_whole_volume_is_segmented_whatever_plane_is_shown(viewer, widget, run):
    viewer.dims.order = (1, 0, 2)
    run(widget)
    assert len(viewer.layers) == 2


def test_current_plane_only_works_where_y_and_x_are_swapped(viewer, widget, run):
    viewer.dims.order = (0, 2, 1)
    widget.region.plane_only.value = True
    run(widget)
    assert len(viewer.layers) == 2


def test_image_without_planes_ignores_the_hidden_switch(viewer, widget, run):
    viewer.add_image(blobs(), name="flat")
    widget.inputs.main.layer = viewer.layers["flat"]
    widget.region.plane_only.value = True
    viewer.dims.order = (1, 0, 2)
    run(widget)
    assert len(viewer.layers) == 3


def test_no_preview_where_another_plane_is_shown(viewer, widget, qtbot):
    viewer.dims.order = (1, 0, 2)
    widget.preview_switch.value = True
    assert ROLLED in widget.bar.message.text()
    assert widget.preview.layer is None
    widget.shut_down()


def test_preview_goes_and_comes_back_as_the_axes_are_rolled(viewer, widget, qtbot):
    widget.preview_switch.value = True
    qtbot.waitUntil(lambda: bool(_previews(viewer)), timeout=30_000)
    viewer.dims.order = (1, 0, 2)
    qtbot.waitUntil(lambda: not _previews(viewer), timeout=30_000)
    assert ROLLED in widget.bar.message.text()
    viewer.dims.order = (0, 1, 2)
    qtbot.waitUntil(lambda: bool(_previews(viewer)), timeout=30_000)
    assert widget.bar.message.text() == ""
    widget.shut_down()


def test_preview_goes_when_the_view_turns_to_3d(viewer, widget, qtbot):
    widget.preview_switch.value = True
    qtbot.waitUntil(lambda: bool(_previews(viewer)), timeout=30_000)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: not _previews(viewer), timeout=30_000)
    widget.shut_down()
