"""The histogram of Threshold by mouse and keys: its lines, "manual", and the live preview."""

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_tessera.engine import api
from napari_tessera.engine import intensity_histogram as engine
from napari_tessera.gui.form.layer_combo import PREVIEW
from tests.helpers.scenes import blobs

LEFT = Qt.MouseButton.LeftButton
OTSU = api.segment("threshold", blobs()).provenance["chosen"]["levels"][0]


@pytest.fixture
def opened(viewer, open_widget, qtbot):
    """Open Threshold on an image, in a window on the screen, and wait for the histogram."""
    widgets = []

    def open_on(image, axes=None, **options):
        viewer.window._qt_window.show()
        viewer.window._qt_window.resize(1200, 780)
        viewer.add_image(image, name="image", **options)
        widget = open_widget("Threshold")
        widgets.append(widget)
        if axes is not None:
            widget.inputs.axes_box.value = axes
        wait_for_histogram(widget, qtbot)
        return widget

    yield open_on
    for widget in widgets:
        widget.shut_down()


def wait_for_histogram(widget, qtbot):
    """Wait until what the form says is counted and drawn."""
    box = widget.histogram
    qtbot.wait(80)
    qtbot.waitUntil(lambda: box.isVisible() and not box._timer.isActive(), timeout=60_000)
    qtbot.wait(150)


def lines(widget):
    return {line.name: line for line in widget.histogram.plot._lines}


def drag(widget, qtbot, name, to):
    """Drag a line with the mouse to an intensity."""
    plot = widget.histogram.plot
    qtbot.wait(300)  # rows may have appeared; until they have their place, the plot is narrower
    start = QPoint(round(plot.x_of(lines(widget)[name].cut)), 60)
    qtbot.mouseMove(plot, start)
    qtbot.mousePress(plot, LEFT, pos=start)
    end = QPoint(round(plot.x_of(to)), 60)
    for share in (0.3, 0.6, 1.0):
        qtbot.mouseMove(plot, start + (end - start) * share)
    qtbot.mouseRelease(plot, LEFT, pos=end)


def test_level_of_the_rule_is_drawn_and_follows_the_rule(opened, qtbot):
    widget = opened(blobs())
    assert lines(widget)["level 0"].cut == OTSU + 0.5
    assert lines(widget)["level 0"].text == f"Otsu {OTSU:g}"
    widget.form.fields["method"].value = "multi-otsu"
    wait_for_histogram(widget, qtbot)
    assert [line.cut - 0.5 for line in lines(widget).values()] == list(
        api.segment("threshold", blobs(), method="multi-otsu").provenance["chosen"]["levels"]
    )


def test_dragging_the_level_makes_it_manual_with_a_live_preview(opened, viewer, qtbot):
    widget = opened(blobs())
    viewer.fit_to_view()
    drag(widget, qtbot, "level 0", 170)
    values = widget.form.values
    assert values["method"] == "manual"
    assert values["low"] == pytest.approx(170, abs=2)
    assert values["high"] is None
    qtbot.waitUntil(lambda: any(PREVIEW in layer.metadata for layer in viewer.layers), timeout=30_000)
    wanted = (blobs() >= values["low"]).astype(int)
    qtbot.waitUntil(lambda: np.array_equal(widget.preview.layer.data, wanted), timeout=30_000)
    assert not lines(widget)["rule 0"].is_movable


def test_held_line_goes_on_moving_after_the_rule_became_manual(opened, qtbot):
    widget = opened(blobs())
    drag(widget, qtbot, "level 0", 60)
    drag(widget, qtbot, "low", 100)
    drag(widget, qtbot, "high", 180)
    assert widget.form.values["low"] == pytest.approx(100, abs=2)
    assert widget.form.values["high"] == pytest.approx(180, abs=2)


def test_line_dragged_to_the_end_has_no_limit_and_lines_do_not_pass_each_other(opened, qtbot):
    widget = opened(blobs())
    widget.form.values = {"method": "manual", "low": 50, "high": 150}
    wait_for_histogram(widget, qtbot)
    drag(widget, qtbot, "high", 1000)
    assert widget.form.values["high"] is None
    drag(widget, qtbot, "high", 120)
    drag(widget, qtbot, "low", 1000)
    assert widget.form.values["low"] - 1 == widget.form.values["high"] == pytest.approx(120, abs=2)


def test_lowest_intensity_dragged_to_the_upper_end_selects_nothing_and_to_the_lower_end_all(opened, qtbot):
    widget = opened(blobs())
    drag(widget, qtbot, "level 0", 1000)
    assert (widget.form.values["low"], widget.form.values["high"]) == (blobs().max() + 1, None)
    drag(widget, qtbot, "low", -1000)
    assert (widget.form.values["low"], widget.form.values["high"]) == (blobs().min(), None)


def test_dragging_a_level_of_dark_objects_sets_the_highest_intensity(opened, qtbot):
    widget = opened(blobs())
    widget.form.fields["polarity"].value = "dark"
    wait_for_histogram(widget, qtbot)
    drag(widget, qtbot, "level 0", 100)
    assert widget.form.values["low"] is None
    assert widget.form.values["high"] == pytest.approx(100, abs=2)


def test_dragging_the_lower_of_two_levels_keeps_the_upper_one_as_the_end(opened, qtbot):
    widget = opened(blobs())
    widget.form.fields["method"].value = "multi-otsu"
    wait_for_histogram(widget, qtbot)
    upper = lines(widget)["level 1"].cut - 0.5
    drag(widget, qtbot, "level 0", 100)
    assert (widget.form.values["method"], widget.form.values["high"]) == ("manual", upper)
    assert widget.form.values["low"] == pytest.approx(100, abs=2)


def test_dragging_a_level_of_hysteresis_sets_it(opened, qtbot):
    widget = opened(blobs())
    widget.form.fields["method"].value = "hysteresis"
    wait_for_histogram(widget, qtbot)
    drag(widget, qtbot, "low", 40)
    assert widget.form.values["method"] == "hysteresis"
    assert widget.form.values["low"] == pytest.approx(40, abs=2)


def test_arrow_keys_move_the_line(opened, viewer, qtbot):
    widget = opened(blobs())
    plot = widget.histogram.plot
    viewer.window._qt_window.activateWindow()
    plot.setFocus()
    qtbot.waitUntil(plot.hasFocus)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        qtbot.keyClick(plot, key)
    assert (widget.form.values["method"], widget.form.values["low"]) == ("manual", OTSU + 2)
    qtbot.keyClick(plot, Qt.Key.Key_Down)
    for _ in range(3):
        qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert widget.form.values["low"] == OTSU + 2
    assert widget.form.values["high"] == blobs().max() - 3


@pytest.mark.parametrize("rule", ["otsu", "local-mean", "hysteresis"])
def test_manual_starts_with_the_level_of_the_rule_and_runs(opened, viewer, run, qtbot, rule):
    widget = opened(blobs())
    widget.form.fields["method"].value = rule
    wait_for_histogram(widget, qtbot)
    widget.form.fields["method"].value = "manual"
    qtbot.waitUntil(lambda: widget.form.values["low"] is not None)
    run(widget)
    if rule != "hysteresis":
        assert widget.form.values["low"] == OTSU + 1
        np.testing.assert_array_equal(viewer.layers[-1].data, api.segment("threshold", blobs()).labels)


def test_manual_of_dark_objects_starts_with_what_the_rule_finds(opened, viewer, run, qtbot):
    widget = opened(blobs())
    widget.form.fields["polarity"].value = "dark"
    wait_for_histogram(widget, qtbot)
    widget.form.fields["method"].value = "manual"
    qtbot.waitUntil(lambda: widget.form.values["high"] is not None)
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data, api.segment("threshold", blobs(), polarity="dark").labels)


def test_settings_of_a_recipe_are_not_filled_up(opened, qtbot):
    widget = opened(blobs())
    widget.form.values = {"method": "manual", "low": None, "high": 90}
    wait_for_histogram(widget, qtbot)
    assert (widget.form.values["low"], widget.form.values["high"]) == (None, 90)


def test_level_set_by_hand_begins_again_on_an_image_of_other_numbers(opened, viewer, qtbot):
    widget = opened((blobs() / 255).astype(np.float32))
    widget.form.values = {"method": "manual", "low": 0.4, "high": 0.9}
    wait_for_histogram(widget, qtbot)
    widget.inputs.main.layer = viewer.add_image(blobs().astype(np.uint16), name="counts")
    wait_for_histogram(widget, qtbot)
    assert (widget.form.values["low"], widget.form.values["high"]) == (OTSU + 1, None)
    widget.form.values = {"low": 60}
    widget.inputs.main.layer = viewer.add_image(blobs().astype(np.uint16)[::-1], name="like it")
    wait_for_histogram(widget, qtbot)
    assert widget.form.values["low"] == 60
    widget.inputs.main.layer = viewer.add_image(blobs().astype(np.uint16) * 200 + 100, name="bright")
    wait_for_histogram(widget, qtbot)
    assert 200 * OTSU + 100 < widget.form.values["low"] <= 200 * OTSU + 300


def test_local_rule_draws_no_level(opened, qtbot):
    widget = opened(blobs())
    widget.form.fields["method"].value = "sauvola"
    wait_for_histogram(widget, qtbot)
    assert lines(widget) == {}
    assert "surroundings" in widget.histogram.caption.text()


def test_level_of_a_volume_is_that_of_the_volume_and_of_a_plane_that_of_the_plane(opened, viewer, qtbot):
    volume = blobs(3) // np.arange(1, 7)[:, None, None]
    widget = opened(volume.astype(np.uint8), "ZYX")
    assert (
        lines(widget)["level 0"].cut - 0.5
        == api.segment("threshold", volume.astype(np.uint8)).provenance["chosen"]["levels"][0]
    )
    viewer.dims.set_point(0, 4)
    widget.region.plane_only.value = True
    wait_for_histogram(widget, qtbot)
    plane = volume[4].astype(np.uint8)
    assert lines(widget)["level 0"].cut - 0.5 == api.segment("threshold", plane).provenance["chosen"]["levels"][0]


def test_level_of_a_film_is_that_of_the_frame_shown(opened, viewer, qtbot):
    film = np.stack([blobs(), blobs() // 4])
    widget = opened(film, "TYX")
    viewer.dims.set_point(0, 1)
    wait_for_histogram(widget, qtbot)
    assert lines(widget)["level 0"].cut - 0.5 == api.segment("threshold", film[1]).provenance["chosen"]["levels"][0]


def test_level_of_a_channel_of_rgb_is_that_of_the_channel(opened, qtbot):
    rgb = np.stack([blobs() // 4, blobs(), blobs() // 2], axis=-1)
    widget = opened(rgb, rgb=True)
    widget.form.fields["channel"].value = 1
    wait_for_histogram(widget, qtbot)
    assert lines(widget)["level 0"].cut - 0.5 == OTSU


def test_sample_of_a_large_lazy_image_is_said(opened, qtbot, monkeypatch):
    monkeypatch.setattr(engine, "LARGEST_WHOLE_PX", 100)
    widget = opened(da.from_array(np.tile(blobs(), (20, 20)), chunks=(40, 48)), contrast_limits=(0, 255))
    assert "Counted in a sample, 16 % of the pixels" in widget.histogram.caption.text()


def test_constant_image_and_nan_hide_the_histogram(opened, viewer, qtbot):
    widget = opened(blobs())
    widget.inputs.main.layer = viewer.add_image(np.full((9, 9), 3.0), name="constant")
    qtbot.waitUntil(widget.histogram.isHidden)
    widget.inputs.main.layer = viewer.layers["image"]
    wait_for_histogram(widget, qtbot)
    assert not widget.histogram.isHidden()


def test_changed_values_are_counted_again(opened, viewer, qtbot):
    widget = opened(blobs())
    viewer.layers["image"].data = blobs() // 2
    wait_for_histogram(widget, qtbot)
    level = api.segment("threshold", blobs() // 2).provenance["chosen"]["levels"][0]
    assert lines(widget)["level 0"].cut - 0.5 == level


def test_values_far_away_are_named_beside_the_part_that_is_shown(opened):
    image = np.random.default_rng(0).permutation(np.arange(10_000, dtype=np.uint16) % 100).reshape(100, 100)
    image[0, 0] = 60_000
    widget = opened(image)
    widget.form.fields["method"].value = "mean"
    low, high = widget.histogram.plot.ends
    assert (low, high < 200) == (-0.5, True)
    assert widget.histogram.plot._end_texts[1].endswith("… 60000")


def test_ends_of_a_smoothed_image_are_named_once(opened, qtbot):
    widget = opened(blobs())
    widget.form.fields["sigma"].value = 1.0
    wait_for_histogram(widget, qtbot)
    assert not any("…" in text for text in widget.histogram.plot._end_texts)
