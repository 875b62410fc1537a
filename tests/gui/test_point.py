"""Point at objects by mouse and keys, in a real viewer; a stand-in for the network finds bright pieces."""

import time
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.layers.annotation import POINTED, is_annotation
from tests.gui.test_docked import Turns
from tests.helpers.click_network import BrightPieces

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
NONE, CONTROL, ALT = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)
SHIFTED = {"scale": (0.5, 0.5), "translate": (10, -20), "rotate": 30}
FIRST, SECOND = (15, 15), (40, 50)
"""Pixels in the middle of the two squares."""


class Slow(BrightPieces):
    """Takes its time, without Python's lock."""

    def forward(self, batch):
        time.sleep(0.05)
        return super().forward(batch)


@pytest.fixture
def network(monkeypatch):
    """Let the stand-in be the network of every model."""
    stand_in = Slow()

    def loaded(entry, device):
        yield Progress(0, 1)
        return stand_in

    monkeypatch.setattr("napari_tessera.gui.point.pointing.loaded", loaded)
    entry = SimpleNamespace(kind="click", name="click", error="")
    monkeypatch.setattr("napari_tessera.gui.point.widget.catalogue.find", lambda name: entry)
    return stand_in


@pytest.fixture
def squares():
    """An image of two bright squares, (60, 80)."""
    image = np.full((60, 80), 10, np.uint8)
    image[8:23, 8:23] = 200
    image[32:49, 42:59] = 200
    return image


def is_first(mask):
    """Return whether a mask is about the first square."""
    return bool(mask[10:21, 10:21].all()) and int(mask.sum()) < 300


class Hand:
    """The user's mouse and keys on the canvas, at pixels of a layer."""

    def __init__(self, viewer, widget, layer, qtbot):
        self.viewer, self.widget, self.layer, self.qtbot = viewer, widget, layer, qtbot
        self.canvas = viewer.window._qt_viewer.canvas

    def at(self, pixel):
        pixel = (*np.rint(self.layer.world_to_data(self.viewer.dims.point))[: self.layer.ndim - 2], *pixel)
        y, x = np.asarray(self.layer.data_to_world(pixel))[-2:]
        across, down = self.canvas.view.scene.transform.map((x, y, 0, 1))[:2]
        return QPoint(round(across), round(down))

    def hover(self, pixel):
        self.qtbot.wait(10)
        QTest.mouseMove(self.canvas.native, self.at(pixel))
        self.qtbot.wait(10)

    def click(self, pixel, button=LEFT, modifier=NONE):
        self.qtbot.wait(10)
        QTest.mouseClick(self.canvas.native, button, modifier, self.at(pixel))
        self.settle()

    def drag(self, first, last):
        self.qtbot.wait(10)
        self.qtbot.mousePress(self.canvas.native, LEFT, pos=self.at(first))
        QTest.mouseMove(self.canvas.native, self.at(last))
        self.qtbot.wait(10)
        self.qtbot.mouseRelease(self.canvas.native, LEFT, pos=self.at(last))
        self.settle()

    def key(self, key, modifier=NONE):
        self.viewer.window._qt_window.activateWindow()
        self.canvas.native.setFocus()
        self.qtbot.keyClick(self.canvas.native, key, modifier)
        self.settle()

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.widget.is_busy, timeout=20_000)
        self.qtbot.wait(1)

    @property
    def labels(self):
        return self.widget.target.layer.data


@pytest.fixture
def point(network, shown, open_widget, qtbot):
    """Open the widget over an image, and begin to point."""

    def opened(image, **about):
        layer = shown.add_image(image, name="cells", **about)
        widget = open_widget("Point").whole()
        shown.reset_view()
        qtbot.wait(50)
        widget.point_button.click()
        hand = Hand(shown, widget, layer, qtbot)
        hand.settle()
        return hand, widget

    return opened


def test_the_outline_of_what_a_click_would_give_is_shown_and_nothing_is_added(point, squares, qtbot):
    hand, widget = point(squares)
    hand.hover(FIRST)
    qtbot.waitUntil(lambda: widget.pointing.hovered is not None)
    drawing = widget.overlay.drawing
    assert not drawing.is_taken
    assert np.allclose(drawing.outline.reshape(-1, 2).min(axis=0), 7.5, atol=1.5)
    assert np.allclose(drawing.outline.reshape(-1, 2).max(axis=0), 22.5, atol=1.5)
    assert "80 % sure" in widget.text.hint.text()
    assert [layer.name for layer in hand.viewer.layers] == ["cells"]


def test_click_and_enter_make_one_object_after_the_other(point, squares):
    hand, widget = point(squares, **SHIFTED)
    hand.click(FIRST)
    assert widget.overlay.drawing.is_taken
    hand.key(Qt.Key.Key_Return)
    assert is_first(hand.labels == 1)
    hand.click(SECOND)
    hand.key(Qt.Key.Key_Return)
    assert hand.labels[SECOND] == 2
    assert hand.labels.max() == 2
    layer = widget.target.layer
    assert layer.name == "cells · point"
    assert np.allclose(layer.affine.affine_matrix, hand.layer.affine.affine_matrix)
    assert np.allclose(layer.data_to_world((3, 4)), hand.layer.data_to_world((3, 4)))
    assert layer.metadata[POINTED] == {"model": "click", "image": "cells", "objects": 2}
    assert widget.count.text() == "2 objects so far."
    assert hand.viewer.layers.selection.active is hand.layer


def test_enter_pressed_at_once_accepts_as_soon_as_the_object_is_found(point, squares):
    hand, widget = point(squares)
    QTest.mouseClick(hand.canvas.native, LEFT, NONE, hand.at(FIRST))
    widget.accept()
    assert widget.target.layer is None
    hand.settle()
    assert is_first(hand.labels == 1)


@pytest.mark.parametrize(("button", "modifier"), [(RIGHT, NONE), (LEFT, ALT)])
def test_a_click_beside_takes_away_and_backspace_brings_it_back(point, squares, button, modifier):
    squares[13, 22:50] = squares[13:40, 50] = 200  # joins the squares
    hand, widget = point(squares)
    hand.click(FIRST)
    whole = widget.pointing.area_px
    hand.click(SECOND, button, modifier)
    assert widget.pointing.area_px < whole
    assert len(widget.overlay.drawing.negative) == 1
    hand.key(Qt.Key.Key_Backspace)
    assert widget.pointing.area_px == whole
    hand.key(Qt.Key.Key_Backspace)
    assert widget.pointing.pick is None


def test_a_box_finds_what_is_in_it(point, squares):
    hand, widget = point(squares, **SHIFTED)
    hand.drag((6, 6), (26, 26))
    assert widget.pointing.pick.box is not None
    assert np.allclose(widget.pointing.pick.box, (6, 6, 26, 26), atol=1)
    hand.key(Qt.Key.Key_Return)
    assert is_first(hand.labels == 1)


def test_escape_drops_the_object_and_then_ends(point, squares):
    hand, widget = point(squares)
    hand.click(FIRST)
    hand.key(Qt.Key.Key_Escape)
    assert widget.pointing.pick is None
    assert widget.is_on
    assert widget.target.layer is None
    hand.key(Qt.Key.Key_Escape)
    assert not widget.is_on
    assert hand.layer.mouse_pan
    hand.key(Qt.Key.Key_P)
    assert widget.is_on


def test_keys_are_none_of_napari_s(point, squares):
    from napari.layers import Image
    from napari.utils.shortcuts import default_shortcuts

    own = {str(key) for name, keys in default_shortcuts.items() if "image" in name or "plane" in name for key in keys}
    assert "X" in own
    assert not {"P", "F", "Enter", "Escape", "Backspace", "Ctrl+Z"} & {*own, *map(str, Image.class_keymap)}


def test_undo_takes_one_object_back_and_the_layer_s_own_redo_brings_it_again(point, squares):
    hand, widget = point(squares)
    for place in (FIRST, SECOND):
        hand.click(place)
        hand.key(Qt.Key.Key_Return)
    both = hand.labels.copy()
    hand.key(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(hand.labels, np.where(both == 2, 0, both))
    assert widget.count.text() == "1 object so far."
    assert widget.target.layer.metadata[POINTED]["objects"] == 1
    widget.target.layer.redo()
    assert np.array_equal(hand.labels, both)


def test_objects_of_others_keep_their_pixels_and_numbers_go_on(point, squares):
    hand, widget = point(squares)
    before = np.zeros(squares.shape, np.uint8)
    before[0:15, 0:15] = 7
    layer = hand.viewer.add_labels(before.copy(), name="mine")
    hand.viewer.add_labels(np.zeros((5, 5), int), name="of another size")
    assert [each.name for each in widget.target.offered()] == ["mine"]
    widget.target.layer = layer
    hand.viewer.layers.selection.active = hand.layer
    hand.click(FIRST)
    hand.key(Qt.Key.Key_Return)
    assert np.array_equal(layer.data == 7, before == 7)
    assert layer.data[20, 20] == 8
    assert layer.dtype == np.uint8


def test_the_size_of_the_last_object_is_taken_for_the_next_until_the_image_changes(point, squares):
    hand, widget = point(squares)
    hand.click(FIRST)
    hand.key(Qt.Key.Key_Return)
    assert widget.pointing.usual_px == pytest.approx(17, abs=2)
    other = hand.viewer.add_image(squares, name="other")
    assert widget.inputs.main.layer is other
    assert widget.pointing.usual_px is None
    assert not widget.is_on


def stack(squares):
    """Return planes of which the first and the last are empty."""
    return np.stack([np.full_like(squares, 10), squares, squares, squares, np.full_like(squares, 10)])


@pytest.mark.parametrize(("axes", "name"), [(("z", "y", "x"), "planes"), (("t", "y", "x"), "frames")])
def test_an_object_is_followed_through_planes_and_accepted_in_all(point, squares, axes, name):
    hand, widget = point(stack(squares), axis_labels=axes, scale=(3, 1, 1))
    hand.viewer.dims.set_point(0, 6)
    hand.click(FIRST)
    assert list(widget.pointing.planes) == [(2,)]
    hand.key(Qt.Key.Key_F)
    assert sorted(widget.pointing.planes) == [(1,), (2,), (3,)]
    hand.viewer.dims.set_point(0, 3)
    assert widget.overlay.drawing.outline is not None
    hand.viewer.dims.set_point(0, 0)
    assert widget.overlay.drawing.outline is None
    hand.key(Qt.Key.Key_Return)
    assert (hand.labels == 1).any(axis=(1, 2)).tolist() == [False, True, True, True, False]
    assert f"in 3 {name}" in widget.text.message.text()
    widget.undo()
    assert not hand.labels.any()


def test_escape_stops_following_and_keeps_the_planes_found_so_far(point, squares, qtbot):
    hand, widget = point(np.repeat(squares[None], 200, axis=0), axis_labels=("z", "y", "x"))
    widget.follows.setChecked(True)
    QTest.mouseClick(hand.canvas.native, LEFT, NONE, hand.at(FIRST))
    qtbot.waitUntil(lambda: len(widget.pointing.planes) > 2, timeout=10_000)
    assert "plane" in widget.text.message.text()
    hand.key(Qt.Key.Key_Escape)
    count = len(widget.pointing.planes)
    assert 2 < count < 200
    hand.key(Qt.Key.Key_Return)
    assert (hand.labels == 1).any(axis=(1, 2)).sum() >= count


def test_an_object_that_is_not_accepted_stays_in_its_plane(point, squares):
    hand, widget = point(stack(squares))
    hand.viewer.dims.set_point(0, 1)
    hand.click(FIRST)
    hand.viewer.dims.set_point(0, 2)
    hand.click(SECOND)
    assert "another plane" in widget.text.message.text()
    assert list(widget.pointing.planes) == [(1,)]


def test_colours_and_channels(point, squares, network):
    colours = np.stack([squares, np.zeros_like(squares), squares], axis=-1)
    hand, _ = point(colours)
    hand.click(FIRST)
    hand.key(Qt.Key.Key_Return)
    assert hand.labels.shape == squares.shape
    assert is_first(hand.labels == 1)
    window = network.seen[-1][0]
    assert (window[1] == 0).all()
    assert window[0].max() > 0.9


def test_the_chosen_channel_is_looked_at(point, squares):
    hand, widget = point(np.stack([np.zeros_like(squares), squares]), axis_labels=("c", "y", "x"))
    assert widget.inputs.axes == "CYX"
    assert not widget.channel.native.isHidden()
    widget.channel.value = 1
    hand.settle()
    hand.click(FIRST)
    hand.key(Qt.Key.Key_Return)
    assert is_first(hand.labels == 1)
    widget.channel.value = 0
    hand.settle()
    hand.click(SECOND)
    assert widget.pointing.area_px == 0


def counted(levels):
    """Return dask images that count the pixels that are read of the first, and the counts."""
    read = []

    def note(block):
        read.append(block.size)
        return block

    chunked = [da.from_array(level, chunks=64) for level in levels]
    return [chunked[0].map_blocks(note, dtype=np.uint8, meta=np.empty((0, 0), np.uint8)), *chunked[1:]], read


def test_only_windows_of_a_large_image_are_read(point, squares):
    image = np.full((2048, 2048), 10, np.uint8)
    image[1000:1060, 1000:1080] = squares
    levels, read = counted([image, image[::4, ::4], image[::16, ::16]])
    hand, widget = point(levels, multiscale=True, contrast_limits=(0, 255))
    widget.pointing.leave()
    read.clear()
    widget.on_click(np.asarray(hand.layer.data_to_world((1015, 1015))), False)
    hand.settle()
    widget.accept()
    hand.settle()
    assert hand.labels[1015, 1015] == 1
    assert sum(read) < 2**18


def test_what_cannot_be_done_is_said(point, squares):
    hand, widget = point(stack(squares))
    hand.click(FIRST, RIGHT)
    assert "click on the object first" in widget.text.message.text()
    widget.accept()
    assert "no object to accept" in widget.text.message.text()
    hand.layer.visible = False
    hand.click(FIRST)
    assert "hidden" in widget.text.message.text()
    hand.layer.visible = True
    hand.viewer.dims.ndisplay = 3
    hand.click(FIRST)
    assert "2-D" in widget.text.message.text()
    assert widget.pointing.pick is None


def test_without_an_image_or_a_model_the_button_says_so(shown, open_widget, squares):
    widget = open_widget("Point").whole()
    widget.point_button.click()
    assert "Open an image" in widget.text.message.text()
    assert not widget.point_button.isChecked()
    shown.add_image(squares)
    widget.model.value = "no such model"
    widget.point_button.click()
    assert "no such model" in widget.text.message.text()
    assert not widget.is_on


def test_a_model_that_cannot_be_loaded_ends_pointing(point, squares, monkeypatch, qtbot):
    hand, widget = point(squares)

    def broken(entry, device):
        yield Progress(0, 1)
        raise RuntimeError("the file is damaged")

    monkeypatch.setattr("napari_tessera.gui.point.pointing.loaded", broken)
    widget.switch(False)
    widget.point_button.click()
    qtbot.waitUntil(lambda: not widget.is_on, timeout=10_000)
    assert "damaged" in widget.text.message.text()
    assert hand.layer.mouse_pan
    assert not widget.point_button.isChecked()


def test_an_image_removed_in_the_middle_ends_pointing(point, squares):
    hand, widget = point(squares)
    hand.click(FIRST)
    hand.viewer.layers.remove(hand.layer)
    assert not widget.is_on
    assert widget.pointing.pick is None
    assert "removed" in widget.text.message.text()


def test_closing_gives_mouse_and_keys_back(point, squares):
    hand, widget = point(squares)
    layer, double_click = hand.layer, list(hand.viewer.mouse_double_click_callbacks)
    hand.click(FIRST)
    hand.viewer.window.remove_dock_widget(widget.parentWidget())
    assert layer.mouse_pan
    assert not layer.keymap or all(action is None for action in layer.keymap.values())
    assert not layer.mouse_move_callbacks
    assert str(layer.cursor) == "standard"
    assert len(hand.viewer.mouse_double_click_callbacks) == len(double_click) + 1
    assert [each.name for each in hand.viewer.layers] == ["cells"]


def test_space_and_the_middle_button_move_the_image(point, squares, qtbot):
    hand, widget = point(squares)
    camera = getattr(hand.viewer, "scene", hand.viewer).camera
    for begin, button in ((lambda: hand.qtbot.keyPress(hand.canvas.native, Qt.Key.Key_Space), LEFT),
                          (lambda: hand.qtbot.keyRelease(hand.canvas.native, Qt.Key.Key_Space),
                           Qt.MouseButton.MiddleButton)):  # fmt: skip
        begin()
        before, at = np.array(camera.center), hand.at(FIRST)
        qtbot.mousePress(hand.canvas.native, button, pos=at)
        for step in (10, 20):
            QTest.mouseMove(hand.canvas.native, at + QPoint(step, 0))
            qtbot.wait(10)
        qtbot.mouseRelease(hand.canvas.native, button, pos=at + QPoint(20, 0))
        assert not np.allclose(camera.center, before)
    assert widget.pointing.pick is None


def test_the_window_is_not_held_while_the_mouse_moves(point, squares, network, qtbot):
    hand, _ = point(squares)
    turns, begin = Turns(), time.perf_counter()
    for step in range(40):
        QTest.mouseMove(hand.canvas.native, hand.at((12 + step % 8, 10 + step % 9)))
        qtbot.wait(5)
    elapsed = time.perf_counter() - begin
    assert len(network.seen) >= 2
    assert len(turns.seconds) > 40
    assert max(turns.seconds) < max(0.1, 0.3 * elapsed)


def test_train_opens_with_the_objects(point, squares, qtbot):
    hand, widget = point(squares)
    assert not widget.train_button.isEnabled()
    hand.click(FIRST)
    hand.key(Qt.Key.Key_Return)
    widget.train_button.click()
    _, train = hand.viewer.window.add_plugin_dock_widget("napari-tessera", "Train")
    train = train.whole()
    assert train.pairs.first.image is hand.layer
    assert train.pairs.first.paint is widget.target.layer
    assert not widget.is_on
    question = train.pairs.first.question
    assert "every object" in question.text.text()
    question.paint_button.click()
    qtbot.waitUntil(lambda: is_annotation(train.pairs.first.paint), timeout=10_000)
    painted = train.pairs.first.paint.data
    assert np.array_equal(painted, np.where(hand.labels == 1, 2, 0))  # 1 would be background


def test_commands_point(point, squares):
    from napari._app_model import get_app_model

    def command(name):
        get_app_model().commands.execute_command(f"napari-tessera.point.{name}").result()

    hand, widget = point(squares)
    hand.click(FIRST)
    command("accept")
    hand.settle()
    assert is_first(hand.labels == 1)
    command("undo")
    assert not hand.labels.any()
    command("start")
    assert not widget.is_on
