"""Open with Tessera: files as layers with axes and pixel size, in a real viewer; a box asks which image of several."""

import numpy as np
import pytest
import tifffile
from npe2 import PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QComboBox, QDialogButtonBox, QFileDialog, QInputDialog

from napari_tessera.gui.open_image import ImageOpener


@pytest.fixture
def opened(viewer, qtbot):
    """Open files, and wait until all layers are there."""

    def open_files(*paths):
        opener = ImageOpener(viewer, paths)
        qtbot.waitUntil(lambda: not opener._left, timeout=20_000)
        return viewer.layers

    return open_files


def answer_with(place):
    """Choose an entry of the box that will ask, by keys, and press OK or, without a place, Cancel."""

    def answer():
        box = next((each for each in QApplication.topLevelWidgets() if isinstance(each, QInputDialog)), None)
        if box is None:
            QTimer.singleShot(50, answer)
            return
        if place is not None:
            box.findChild(QComboBox).setCurrentIndex(place)
        wanted = QDialogButtonBox.Ok if place is not None else QDialogButtonBox.Cancel
        box.findChild(QDialogButtonBox).button(wanted).click()

    QTimer.singleShot(50, answer)


@pytest.fixture
def two_series(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for side, size in ((16, 1.0), (48, 0.5)):
            sizes = {f"PhysicalSize{axis}": size for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
            file.write(np.full((side, side), side, np.uint8), metadata={"axes": "YX", "Name": f"side {side}", **sizes})
    return path


@pytest.mark.parametrize(("place", "side", "scale"), [(0, 16, 1.0), (1, 48, 0.5), (None, 48, 0.5)])
def test_of_two_images_the_chosen_one_is_opened_with_its_pixel_size(opened, two_series, place, side, scale):
    answer_with(place)
    [layer] = opened(two_series)
    assert layer.data.shape == (side, side)
    assert layer.name == f"two · image {1 if place is None else place}"
    assert layer.scale.tolist() == [scale, scale]
    assert str(layer.units[0]) == "micrometer"


def test_files_are_opened_one_after_the_other_and_a_damaged_one_is_left_out(opened, tmp_path):
    np.save(tmp_path / "plane.npy", np.zeros((8, 8)))
    (tmp_path / "damaged.tif").write_bytes(b"II*\0")
    tifffile.imwrite(tmp_path / "white.tif", np.zeros((8, 8), np.uint8), photometric="miniswhite")
    layers = opened(*(tmp_path / name for name in ("plane.npy", "damaged.tif", "white.tif")))
    assert [layer.name for layer in layers] == ["plane", "white"]
    assert layers["white"].data.min() == 255


def test_channels_that_are_no_colours_are_an_axis_of_the_layer(opened, tmp_path):
    tifffile.imwrite(tmp_path / "two.ome.tif", np.zeros((2, 8, 9), np.uint8), metadata={"axes": "CYX"})
    [layer] = opened(tmp_path / "two.ome.tif")
    assert layer.data.shape == (2, 8, 9)
    assert tuple(layer.axis_labels) == ("c", "y", "x")


def test_the_command_is_in_the_file_menu():
    manifest = PluginManifest.from_distribution("napari-tessera")
    commands = [item.command for item in manifest.contributions.menus["napari/file/io_utilities"]]
    assert commands == ["napari-tessera.open_image"]


def test_the_menu_asks_for_files_and_opens_them(viewer, qtbot, tmp_path, monkeypatch):
    np.save(tmp_path / "plane.npy", np.zeros((8, 8)))
    files = ([str(tmp_path / "plane.npy")], "")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: files)  # the dialog of the system
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command("napari-tessera.open_image").result()
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=20_000)
