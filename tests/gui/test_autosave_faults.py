"""Saving in the background that fails is said as long as it fails, is tried again, and forgets no stroke."""

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_tessera.gui.autosave import autosave as autosave_thread
from napari_tessera.gui.autosave import layer_copy as autosave_changes
from napari_tessera.gui.autosave import layer_copy as autosave_copy
from napari_tessera.gui.autosave.autosave import Autosave
from napari_tessera.io import annotation_store as paint_copy
from tests.gui.test_autosave import autosave, files, folder, image, layer, seen_after_a_crash
from tests.gui.test_train import paint_halves
from tests.helpers.faults import SAID, each_fault, memory_or_bug, once

__all__ = ["autosave", "folder", "image", "layer"]  # fixtures


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Try again sooner than a user would mind."""
    monkeypatch.setattr(autosave_thread, "SECONDS_BETWEEN_SAVES", 0.1)
    monkeypatch.setattr(autosave_thread, "SECONDS_AFTER_FAILURE", 0.3)


@pytest.fixture
def told(autosave):
    """What was told, the latest last."""
    texts = []
    autosave.failed.connect(texts.append)
    return texts


@each_fault
def test_a_fault_is_told_once_and_its_end_too(
    layer, autosave, folder, tmp_path, viewer, qtbot, monkeypatch, told, fault
):
    with monkeypatch.context() as patch:
        patch.setattr(paint_copy, "replace_whole", fault)
        layer.paint((0, 5, 6), 2)
        qtbot.waitUntil(lambda: bool(told), timeout=20_000)
        qtbot.wait(1000)  # it was tried again, and is not told again
    (why,) = told
    assert SAID[fault] in why
    assert "save the layer yourself" in why
    qtbot.waitUntil(lambda: told[-1] == "", timeout=20_000)
    assert autosave.save_now()
    np.testing.assert_array_equal(seen_after_a_crash(folder, tmp_path, viewer).data, layer.data)


@memory_or_bug
@pytest.mark.parametrize(
    ("module", "name"),
    [(autosave_changes, "blocks_touched"), (autosave_copy, "all_blocks"), (autosave_copy, "is_searched")],
)
def test_a_fault_before_anything_is_written_forgets_no_stroke(
    layer, autosave, folder, monkeypatch, module, name, fault
):
    assert autosave.save_now()
    monkeypatch.setattr(module, name, once(fault, getattr(module, name)))
    layer.paint((0, 5, 6), 2)
    layer.data[2, 300, 300] = 1
    layer.refresh()
    assert autosave.save_now()
    autosave.save_now(20)
    autosave.close()
    assert files(folder) == ["block-0-0-0.npz", "block-2-1-1.npz"]


@memory_or_bug
def test_old_annotations_that_cannot_be_deleted_do_not_keep_new_ones_from_being_saved(
    viewer, image, folder, monkeypatch, fault
):
    from napari_tessera.gui.layers.annotation import new_annotation

    monkeypatch.setattr(autosave_thread, "discard_old", fault)
    saving = Autosave(viewer)
    made = new_annotation(viewer, image, "ZYX", ["background"], "classes")
    saving.watch(made, image)
    made.paint((0, 5, 6), 2)
    assert saving.save_now()
    saving.close()
    assert len(files(folder)) == 1


def test_a_disk_that_stays_full_is_not_littered_with_folders(layer, autosave, folder, qtbot, monkeypatch, told):
    tried = []

    def full(*given, **_):
        tried.append(given)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paint_copy, "write_whole", full)
    layer.paint((0, 5, 6), 2)
    qtbot.waitUntil(lambda: len(tried) > 2, timeout=20_000)
    assert len([each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]) == 1
    monkeypatch.undo()
    assert autosave.save_now(20)
    assert files(folder) == ["block-0-0-0.npz"]


def test_without_a_thread_it_is_told_and_saved_as_soon_as_there_is_one(viewer, image, folder, monkeypatch):
    from napari_tessera.gui.layers.annotation import new_annotation

    def refused(*_, **__):
        raise RuntimeError("can't start new thread")

    saving, texts = Autosave(viewer), []
    saving.failed.connect(texts.append)
    made = new_annotation(viewer, image, "ZYX", ["background"], "classes")
    with monkeypatch.context() as patch:
        patch.setattr(autosave_thread, "start_thread", refused)
        saving.watch(made, image)
    assert "can't start new thread" in texts[0]
    made.paint((0, 5, 6), 2)
    saving.watch(made, image)
    assert saving.save_now()
    saving.close()
    assert len(files(folder)) == 1


@each_fault
def test_the_widget_says_so_even_while_it_trains_and_until_it_is_saved(open_widget, viewer, qtbot, monkeypatch, fault):
    widget = paint_halves(open_widget("Train"), viewer, steps=100_000)
    with monkeypatch.context() as patch:
        patch.setattr(paint_copy, "replace_whole", fault)
        viewer.layers[-1].data_setitem((np.array([3]), np.array([4])), 2)
        widget.bar.run_button.click()
        qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=240_000)
        qtbot.waitUntil(lambda: "Step" in widget.bar.message.text(), timeout=60_000)
        qtbot.waitUntil(lambda: SAID[fault] in widget.unsaved.text(), timeout=20_000)
        assert not widget.unsaved.isHidden()
        assert "Step" in widget.bar.message.text()
    qtbot.waitUntil(widget.unsaved.isHidden, timeout=20_000)
    widget.cancel()
    qtbot.waitUntil(lambda: not widget.runner.is_running, timeout=60_000)


def test_paint_that_cannot_be_saved_at_the_end_is_said_by_napari(open_widget, viewer, qtbot, monkeypatch):
    monkeypatch.setattr(paint_copy, "replace_whole", SAID.__iter__().__next__())
    widget = paint_halves(open_widget("Train"), viewer)
    before = len(notification_manager.records)
    viewer.window.remove_dock_widget(widget)
    said = lambda: [each.message for each in list(notification_manager.records)[before:]]  # noqa: E731
    qtbot.waitUntil(lambda: any("is not saved in the background" in each for each in said()), timeout=20_000)
