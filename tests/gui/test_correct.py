"""Correct labels by mouse and keys, in a real viewer."""

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_tessera.gui.correct.corrected_layer import CORRECTIONS
from napari_tessera.gui.correct.tools import TOOLS
from tests.helpers.scenes import blobs

LEFT = Qt.MouseButton.LeftButton
NONE, CONTROL, ALT = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)
SHIFTED = {"scale": (0.5, 0.5), "translate": (10, -20), "rotate": 30}


@pytest.fixture
def squares():
    """Labels of four squares, (40, 60); the last two touch."""
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:15] = 1
    labels[5:15, 25:35] = 2
    labels[22:34, 20:32] = 3
    labels[22:34, 32:44] = 4
    return labels


class Hand:
    """The user's mouse on the canvas, at pixels of a layer."""

    def __init__(self, viewer, widget, qtbot):
        self.viewer, self.widget, self.qtbot = viewer, widget, qtbot
        self.canvas = viewer.window._qt_viewer.canvas

    def at(self, layer, pixel):
        y, x = np.asarray(layer.data_to_world(pixel))[-2:]
        across, down = self.canvas.view.scene.transform.map((x, y, 0, 1))[:2]
        return QPoint(round(across), round(down))

    def click(self, layer, pixel, modifier=NONE):
        self.qtbot.wait(60)
        at = self.at(layer, pixel)
        self.qtbot.mouseMove(self.canvas.native, at)
        self.qtbot.mouseClick(self.canvas.native, LEFT, modifier, pos=at)
        self.settle()

    def drag(self, layer, *pixels):
        self.qtbot.wait(60)
        first, *others = [self.at(layer, pixel) for pixel in pixels]
        self.qtbot.mousePress(self.canvas.native, LEFT, pos=first)
        for at in others:
            QTest.mouseMove(self.canvas.native, at)
            self.qtbot.wait(10)
        self.qtbot.mouseRelease(self.canvas.native, LEFT, pos=others[-1])
        self.settle()

    def key(self, key, modifier=NONE):
        self.viewer.window._qt_window.activateWindow()
        self.canvas.native.setFocus()
        self.qtbot.keyClick(self.canvas.native, key, modifier)
        self.qtbot.wait(20)

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.widget.is_busy and not self.widget.runner.is_running, timeout=20_000)


@pytest.fixture
def correct(shown, open_widget, qtbot):
    """Open the widget over labels, and return them with the hand and the widget."""

    def opened(labels, **placed):
        layer = shown.add_labels(labels, name="cells", **placed)
        widget = open_widget("Correct labels")
        shown.reset_view()
        qtbot.wait(100)
        return layer, Hand(shown, widget, qtbot), widget

    return opened


def test_click_deletes_and_undo_brings_back(correct, squares):
    layer, hand, widget = correct(squares.copy(), **SHIFTED)
    widget.buttons["delete"].click()
    hand.click(layer, (10, 30))
    assert np.array_equal(layer.data, np.where(squares == 2, 0, squares))
    hand.key(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(layer.data, squares)
    widget.redo_button.click()
    assert np.array_equal(layer.data, np.where(squares == 2, 0, squares))
    widget.undo_button.click()
    assert np.array_equal(layer.data, squares)


def test_keys_take_tools_and_put_them_away(correct, squares):
    _, hand, widget = correct(squares.copy())
    for tool in (each for each in TOOLS if not each.needs_stack):
        hand.key(getattr(Qt.Key, f"Key_{tool.key}"))
        assert widget.tool is tool
        assert [name for name, each in widget.buttons.items() if each.isChecked()] == [tool.name]
        assert tool.hint in widget.message.text()
    hand.key(Qt.Key.Key_O)
    assert widget.tool is None


def test_keys_are_none_of_napari_s(correct, squares):
    from napari.layers import Labels
    from napari.utils.shortcuts import default_shortcuts

    own = {str(binding) for name, keys in default_shortcuts.items() if "labels" in name for binding in keys}
    assert "P" in own
    assert not {tool.key for tool in TOOLS} & own
    assert not {tool.key for tool in TOOLS} & {str(key) for key in Labels.class_keymap}


def test_drag_joins_objects_on_its_way(correct, squares):
    layer, hand, widget = correct(squares.copy())
    widget.buttons["merge"].click()
    hand.drag(layer, (10, 10), (10, 20), (10, 30))
    assert np.array_equal(layer.data, np.where(squares == 2, 1, squares))


def test_line_cuts_an_object(correct, squares):
    layer, hand, widget = correct(squares.copy())
    widget.buttons["split"].click()
    hand.drag(layer, (2, 10), (10, 10), (18, 10))
    pieces = layer.data[5:15, 5:15]
    assert set(np.unique(pieces)) == {1, 5}
    assert len(np.unique(pieces[:, :4])) == len(np.unique(pieces[:, 6:])) == 1
    assert np.array_equal(layer.data[:, 20:], squares[:, 20:])
    assert [each.name for each in hand.viewer.layers] == ["cells"]


def test_two_clicks_part_an_object(correct, squares):
    labels = np.where(squares == 4, 3, squares)
    layer, hand, widget = correct(labels)
    labels = labels.copy()
    widget.buttons["split_at"].click()
    hand.click(layer, (28, 24))
    assert np.array_equal(layer.data, labels)
    hand.click(layer, (28, 40))
    assert layer.data[28, 24] == 3
    assert layer.data[28, 40] == 4
    assert np.array_equal(layer.data > 0, labels > 0)


def test_outline_becomes_a_new_object_beside_the_others(correct, squares):
    layer, hand, widget = correct(squares.copy())
    widget.buttons["draw"].click()
    hand.drag(layer, (3, 12), (3, 22), (18, 22), (18, 12), (3, 12))
    new = layer.data == 5
    assert 60 < new.sum() < 150
    assert np.array_equal(np.where(new, 0, layer.data), squares)


@pytest.mark.parametrize(("tool", "is_larger"), [("grow", True), ("shrink", False)])
def test_distance_counts(correct, squares, tool, is_larger):
    layer, hand, widget = correct(squares.copy(), **SHIFTED)
    widget.distance.setValue(2)
    widget.buttons[tool].click()
    hand.click(layer, (10, 10))
    side = 14 if is_larger else 6
    assert (layer.data[10] == 1).sum() == (layer.data[:, 10] == 1).sum() == side


def test_holes_are_filled(correct, squares):
    labels = squares.copy()
    labels[8:10, 8:10] = 0
    layer, hand, widget = correct(labels)
    widget.buttons["fill_holes"].click()
    hand.click(layer, (12, 12))
    assert np.array_equal(layer.data, squares)


def volume(squares):
    return np.stack([np.zeros_like(squares), squares, np.zeros_like(squares), squares, np.zeros_like(squares)])


def test_volume_or_only_the_plane(correct, squares):
    layer, hand, widget = correct(volume(squares), axis_labels=("z", "y", "x"))
    hand.viewer.dims.set_point(0, 1)
    widget.buttons["delete"].click()
    hand.click(layer, (1, 10, 10))
    assert not (layer.data == 1).any()
    widget.only_plane.setChecked(True)
    hand.click(layer, (1, 10, 30))
    assert (layer.data == 2).sum(axis=(1, 2)).tolist() == [0, 0, 0, 100, 0]


def test_films_change_in_the_frame_shown(correct, squares):
    layer, hand, widget = correct(volume(squares), axis_labels=("t", "y", "x"))
    hand.viewer.dims.set_point(0, 3)
    widget.buttons["delete"].click()
    hand.click(layer, (3, 10, 10))
    assert (layer.data == 1).sum(axis=(1, 2)).tolist() == [0, 100, 0, 0, 0]


def test_outline_is_copied_to_the_next_plane_and_with_alt_to_the_one_before(correct, squares):
    layer, hand, widget = correct(volume(squares))
    hand.viewer.dims.set_point(0, 3)
    widget.buttons["copy"].click()
    hand.click(layer, (3, 10, 10))
    assert (layer.data == 1).sum(axis=(1, 2)).tolist() == [0, 100, 0, 100, 100]
    hand.click(layer, (3, 10, 30), ALT)
    assert (layer.data == 2).sum(axis=(1, 2)).tolist() == [0, 100, 100, 100, 0]


def test_planes_between_are_filled(correct, squares):
    layer, hand, widget = correct(volume(squares))
    hand.viewer.dims.set_point(0, 1)
    widget.buttons["interpolate"].click()
    hand.click(layer, (1, 10, 10))
    assert (layer.data == 1).sum(axis=(1, 2)).tolist() == [0, 100, 100, 100, 0]


def test_tools_for_planes_are_shown_with_planes_only(correct, squares):
    _, hand, widget = correct(squares)
    assert widget.buttons["copy"].isHidden()
    hand.viewer.add_labels(volume(squares))
    assert not widget.buttons["copy"].isHidden()
    assert not widget.only_plane.isHidden()


def test_what_cannot_be_done_is_said_and_changes_nothing(correct, squares):
    layer, hand, widget = correct(squares.copy())
    for tool, pixels, words in (
        ("delete", [(1, 1)], "no object here"),
        ("merge", [(10, 8), (10, 12)], "Only one object"),
        ("split", [(10, 8), (10, 12)], "cut"),
    ):
        widget.take(None)
        widget.take(tool)
        (hand.click if len(pixels) == 1 else hand.drag)(layer, *pixels)
        assert words in widget.message.text()
    assert np.array_equal(layer.data, squares)
    assert CORRECTIONS not in layer.metadata


def test_labels_that_cannot_be_changed_are_refused(correct, squares):
    _, _, widget = correct(da.from_array(squares))
    widget.buttons["delete"].click()
    assert widget.tool is None
    assert "cannot be changed" in widget.message.text()


def test_labels_on_the_disk_are_not_read_before_they_are_asked_for(correct, squares):
    def read(_):
        raise AssertionError("read")

    _, _, widget = correct(da.from_array(squares).map_blocks(lambda block: block, dtype=np.int32))
    unread = da.zeros((4, 40, 60), np.int32, chunks=(1, 40, 60)).map_blocks(read, dtype=np.int32, meta=np.array(()))
    widget.viewer.add_labels(unread, visible=False)
    assert widget.walk.layer is None
    assert "cannot be changed" in widget.message.text()


def test_fast_clicks_are_all_done_one_after_the_other(correct, squares):
    layer, hand, widget = correct(squares.copy())
    widget.buttons["delete"].click()
    for pixel in ((10, 10), (10, 30), (28, 26)):
        at = hand.at(layer, pixel)
        QTest.mouseClick(hand.canvas.native, LEFT, NONE, at)
    hand.settle()
    assert np.array_equal(layer.data, np.where(squares == 4, squares, 0))
    assert layer.metadata[CORRECTIONS] == {"delete": 3}


def test_in_the_3_d_view_nothing_is_changed_and_the_way_is_said(correct, squares):
    layer, hand, widget = correct(volume(squares))
    hand.viewer.dims.ndisplay = 3
    widget.buttons["delete"].click()
    hand.click(layer, (2, 10, 10))
    assert "switch the viewer to 2-D" in widget.message.text()
    assert np.array_equal(layer.data, volume(squares))


def test_the_walk_is_in_its_section(correct, squares):
    _, _, widget = correct(squares)
    assert not widget.walk.isVisible()
    widget.objects.heading.click()
    assert widget.walk.isVisible()


def test_brush_puts_the_tool_away_and_the_mouse_moves_the_image_again(correct, squares):
    layer, hand, widget = correct(squares)
    widget.buttons["delete"].click()
    assert not layer.mouse_pan
    hand.key(Qt.Key.Key_2)
    assert layer.mode == "paint"
    assert widget.tool is None
    layer.mode = "pan_zoom"
    assert layer.mouse_pan
    widget.buttons["delete"].click()
    hand.viewer.window.remove_dock_widget(widget)
    assert layer.mouse_pan
    hand.key(Qt.Key.Key_D)
    assert layer.mouse_pan


def test_corrections_are_counted_in_the_record(shown, open_widget, run, qtbot):
    shown.add_image(blobs(), name="blobs")
    threshold = open_widget("Threshold")
    threshold.form.fields["output"].value = "objects"
    run(threshold)
    layer = shown.layers[-1]
    before = layer.data.copy()
    widget = open_widget("Correct labels")
    hand = Hand(shown, widget, qtbot)
    widget.buttons["delete"].click()
    inside = np.argwhere(before == 1)
    hand.click(layer, inside[len(inside) // 2])
    assert layer.metadata["tessera"]["corrected"] == {"delete": 1}
    assert "1 correction " in widget.count.text()
    qtbot.waitUntil(lambda: layer.features.set_index("index").loc[1, "num_pixels"] == 0, timeout=10_000)


def test_commands_take_tools(correct, squares):
    from napari._app_model import get_app_model

    _, _, widget = correct(squares)
    for tool in TOOLS[:3]:
        get_app_model().commands.execute_command(f"napari-tessera.correct.{tool.name}").result()
        assert widget.tool is tool


def test_corrections_are_saved_in_the_background(correct, squares, own_annotations):
    from napari_tessera.gui.autosave.autosave import kept, restore

    layer, hand, widget = correct(squares.copy())
    widget.buttons["delete"].click()
    hand.click(layer, (10, 30))
    assert widget.autosave.save_now()
    hand.viewer.window.remove_dock_widget(widget)
    (saved,) = kept()
    assert np.array_equal(restore(hand.viewer, saved).data, np.where(squares == 2, 0, squares))


def test_walk_goes_through_the_objects_in_the_chosen_order(correct, squares, qtbot):
    labels = squares.copy()
    labels[5:15, 25:35][3:] = 0
    layer, hand, widget = correct(labels)
    walk = widget.walk
    qtbot.waitUntil(lambda: walk.model.rowCount() == 4, timeout=10_000)
    walk.sort.setCurrentIndex(walk.sort.findData("num_pixels"))
    walk.refresh()
    hand.key(Qt.Key.Key_N)
    assert (walk.number, layer.selected_label) == (2, 2)
    camera = getattr(hand.viewer, "scene", hand.viewer).camera
    qtbot.waitUntil(lambda: np.allclose(camera.center[-2:], (6, 29.5), atol=1), timeout=10_000)
    hand.key(Qt.Key.Key_N)
    assert walk.number == 1
    hand.key(Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    hand.key(Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    assert walk.number == 4


def test_checked_objects_are_kept_in_the_features_and_can_be_hidden(correct, squares, qtbot):
    layer, hand, widget = correct(squares.copy())
    walk = widget.walk
    qtbot.waitUntil(lambda: walk.model.rowCount() == 4, timeout=10_000)
    for _ in range(3):  # the first goes to object 1
        hand.key(Qt.Key.Key_Q)
    assert layer.features.set_index("index")["checked"].tolist() == [True, True, False, False]
    assert walk.progress.text() == "2 of 4 checked"
    assert walk.number == 3
    walk.hides_checked.setChecked(True)
    assert walk.model.numbers.tolist() == [3, 4]
    widget.buttons["delete"].click()
    hand.click(layer, (28, 26))
    qtbot.waitUntil(lambda: walk.progress.text() == "2 of 3 checked", timeout=10_000)
    layer.undo()
    qtbot.waitUntil(lambda: layer.features["index"].tolist() == [1, 2, 3, 4], timeout=10_000)


def test_walk_shows_the_plane_of_an_object(correct, squares, qtbot):
    labels = np.stack([squares, np.zeros_like(squares), np.where(squares == 1, 9, 0)])
    _, hand, widget = correct(labels, scale=(2, 1, 1))
    qtbot.waitUntil(lambda: widget.walk.model.rowCount() == 5, timeout=10_000)
    widget.walk.go_to(9)
    qtbot.waitUntil(lambda: hand.viewer.dims.current_step[0] == 2, timeout=10_000)


def test_checked_stays_after_a_result_was_measured_again(shown, open_widget, run, qtbot):
    shown.add_image(blobs(), name="blobs")
    threshold = open_widget("Threshold")
    threshold.form.fields["output"].value = "objects"
    run(threshold)
    layer = shown.layers[-1]
    widget = open_widget("Correct labels")
    widget.walk.go_to(1)
    widget.walk.check()
    layer.paint((0, 0), 7)
    qtbot.waitUntil(lambda: layer.features["index"].max() == 7, timeout=10_000)
    widget.walk.go_to(7)
    assert widget.walk.progress.text().startswith("1 of")


def planted_errors(truth, rng):
    """Make five errors of each kind in labels; return them, and how a user puts each right: (tool, path)."""
    labels, right = truth.copy(), []
    middles = {n: np.argwhere(truth == n).mean(axis=0) for n in np.unique(truth[truth > 0])}
    inside = [n for n in middles if not (np.argwhere(truth == n) % (np.array(truth.shape) - 1) == 0).any()]
    pairs = set(zip(truth[:, :-1].ravel(), truth[:, 1:].ravel(), strict=True)) - {(n, n) for n in (0, *middles)}
    free = set(inside)
    for a, b in sorted(pairs):
        if {a, b} <= free and len(right) < 5:
            free -= {a, b}
            labels[truth == b] = a
            middle, across = (middles[a] + middles[b]) / 2, (middles[b] - middles[a])[::-1] * (1, -1)
            ends = [middle + sign * 14 * across / np.hypot(*across) for sign in (-1, 1)]
            right.append(("split", ends))
    assert len(right) == 5
    chosen = rng.permutation(sorted(free))[:10]
    highest = truth.max()
    for number, n in enumerate(chosen[:5], 1):
        rows, columns = np.nonzero(truth == n)
        half = columns > middles[n][1]
        labels[rows[half], columns[half]] = highest + number
        right.append(("merge", [middles[n] - (0, 5), middles[n], middles[n] + (0, 5)]))
    for n in chosen[5:]:
        labels[truth == n] = 0
        offsets = np.argwhere(truth == n) - middles[n]
        angles = np.arctan2(*offsets.T)
        bins = [offsets[np.abs(angles - at) < 0.3] for at in np.linspace(-np.pi, np.pi, 16)]
        right.append(("draw", [middles[n] + each[np.hypot(*each.T).argmax()] for each in bins if len(each)]))
    taken = truth > 0
    for number in range(6, 11):
        y, x = next((y, x) for y, x in rng.integers(8, np.array(truth.shape) - 8, (9999, 2))
                    if not taken[y - 4 : y + 5, x - 4 : x + 5].any())  # fmt: skip
        labels[y - 3 : y + 4, x - 3 : x + 4] = highest + number
        taken[y - 4 : y + 5, x - 4 : x + 5] = True
        right.append(("delete", [np.array((y, x))]))
    return labels, right


def test_twenty_planted_errors_are_put_right_with_one_operation_each(correct, tmp_path):
    import napari_tessera as tessera

    truth = tessera.sample_data.nuclei_2d()[1].astype(np.int32)
    labels, right = planted_errors(truth, np.random.default_rng(3))
    assert tessera.evaluate(truth, labels)["ap"]["0.50"] < 0.85
    layer, hand, widget = correct(labels.copy())
    states = [labels]
    for tool, path in right:
        if widget.tool is None or widget.tool.name != tool:
            widget.buttons[tool].click()
        (hand.click(layer, path[0]) if len(path) == 1 else hand.drag(layer, *path))
        assert not np.array_equal(layer.data, states[-1]), (tool, widget.message.text())
        states.append(layer.data.copy())
    assert tessera.evaluate(truth, layer.data)["ap"]["0.50"] == 1
    for state in states[-2::-1]:
        layer.undo()
        assert np.array_equal(layer.data, state)
    for state in states[1:]:
        layer.redo()
        assert np.array_equal(layer.data, state)
