"""Annotations are saved while they are painted, and come back after a crash; only what changed is written."""

import os
import shutil
import time

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_tessera.core.errors import FileError
from napari_tessera.core.sparse_array import BLOCK_PX
from napari_tessera.gui.autosave.autosave import Autosave, discard, kept, left_over, restore
from napari_tessera.gui.layers.annotation import class_names, empty_paint, new_annotation, set_class_names
from napari_tessera.io.annotation_store import STATE

NAMES = ["background", "membrane"]
SHAPE = (3, 2 * BLOCK_PX, 2 * BLOCK_PX)


@pytest.fixture
def folder(own_annotations):
    """Where annotations are saved."""
    return own_annotations


@pytest.fixture
def autosave(viewer, folder):
    """What saves the layers of a viewer."""
    saving = Autosave(viewer)
    yield saving
    saving.close()


@pytest.fixture
def image(viewer):
    return viewer.add_image(np.zeros(SHAPE), name="cells", scale=(2, 0.5, 0.5), units=("um",) * 3)


@pytest.fixture
def layer(viewer, image, autosave):
    """An annotation that is being saved, at its first plane."""
    made = new_annotation(viewer, image, "ZYX", NAMES, "classes")
    viewer.dims.set_current_step(0, 0)
    autosave.watch(made, image)
    return made


def files(folder):
    return sorted(path.name for path in folder.glob("*/block*"))


def after_a_crash(folder, tmp_path):
    """Copy what is on the disk, as a crash would leave it: with a lock that nobody holds."""
    there = tmp_path / f"crashed-{time.monotonic_ns()}"
    shutil.copytree(folder, there)
    return there


def seen_after_a_crash(folder, tmp_path, viewer):
    (saved,) = left_over(after_a_crash(folder, tmp_path))
    return restore(viewer, saved)


def test_a_stroke_is_saved_where_it_is(layer, autosave, folder):
    assert autosave.save_now()
    layer.paint((0, 5, 6), 2)
    assert autosave.save_now()
    assert files(folder) == ["block-0-0-0.npz"]


def test_only_the_block_that_changed_is_written_again(layer, autosave, folder):
    for y in (5, BLOCK_PX + 5):
        layer.paint((0, y, 6), 2)
    assert autosave.save_now()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/block*")}
    layer.paint((0, 9, 9), 1)
    assert autosave.save_now()
    assert [path.name for path, at in before.items() if path.stat().st_mtime_ns != at] == ["block-0-0-0.npz"]


def test_a_stroke_comes_back_after_a_crash(layer, autosave, folder, tmp_path, viewer):
    layer.paint((0, 5, 6), 2)
    layer.paint((0, BLOCK_PX, BLOCK_PX), 1)
    assert autosave.save_now()
    back = seen_after_a_crash(folder, tmp_path, viewer)
    np.testing.assert_array_equal(back.data, layer.data)
    assert (back.name.split(" [")[0], class_names(back)) == (layer.name, NAMES)
    assert back.data.dtype == layer.data.dtype
    np.testing.assert_array_equal(back.scale, layer.scale)
    assert back.units == layer.units


def paint_polygon(layer):
    layer.paint_polygon([(0, 10, 10), (0, 300, 10), (0, 300, 300)], 2)


def fill(layer):
    layer.fill((0, 200, 200), 1)


def undo(layer):
    layer.paint((0, 400, 400), 2)
    layer.undo()


def redo(layer):
    undo(layer)
    layer.redo()


def set_items(layer):
    layer.data_setitem((np.array([0, 2]), np.array([3, 500]), np.array([4, 500])), 1)


def set_past_the_brush(layer):
    layer.data[1, 300:310, 20:30] = 2
    layer.refresh()


def replace_data(layer):
    data = np.zeros(SHAPE, np.uint8)
    data[2, 100:120, 300:320] = 1
    layer.data = data


def erase(layer):
    layer.paint((0, 5, 6), 0)


@pytest.mark.parametrize(
    "change",
    [paint_polygon, fill, undo, set_items, set_past_the_brush, replace_data, erase],
    ids=lambda each: each.__name__,
)
def test_every_way_to_change_paint_is_saved(change, layer, autosave, folder, tmp_path, viewer):
    layer.paint((0, 5, 6), 2)
    layer.paint((1, 5, 6), 2)
    assert autosave.save_now()
    change(layer)
    assert autosave.save_now()
    np.testing.assert_array_equal(seen_after_a_crash(folder, tmp_path, viewer).data, layer.data)


def test_a_stroke_under_way_is_saved_before_the_mouse_is_let_go(layer, autosave, folder, tmp_path, viewer):
    assert autosave.save_now()  # afterwards nothing but the event of the stroke says that something has changed
    with layer.block_history():
        layer._draw(2, (0, 5, 5), (0, 5, 300))
        assert autosave.save_now()
        np.testing.assert_array_equal(seen_after_a_crash(folder, tmp_path, viewer).data, layer.data)


def test_paint_that_was_there_before_is_saved(viewer, image, autosave, folder, tmp_path):
    data = np.zeros(SHAPE, np.int32)
    data[2, 300:305, 300:305] = 70_000
    autosave.watch(viewer.add_labels(data, name="mine"), image)
    assert autosave.save_now()
    np.testing.assert_array_equal(seen_after_a_crash(folder, tmp_path, viewer).data, data)


def test_a_sparse_layer_is_saved(viewer, image, autosave, folder, tmp_path):
    layer = viewer.add_labels(empty_paint((400, 2000, 2000), np.uint8))
    autosave.watch(layer, image)
    viewer.dims.set_current_step(0, 7)
    layer.paint((7, 600, 600), 3)
    assert autosave.save_now()
    assert files(folder) == ["block-7-2-2.npz"]
    back = seen_after_a_crash(folder, tmp_path, viewer)
    np.testing.assert_array_equal(back.data[7], layer.data[7])


def test_nothing_is_written_of_a_layer_without_paint(layer, autosave, folder):
    assert autosave.save_now()
    assert not folder.exists()


def test_new_names_of_classes_are_saved(layer, autosave, folder, tmp_path, viewer):
    layer.paint((0, 5, 6), 2)
    assert autosave.save_now()
    set_class_names(layer, [*NAMES, "vesicle"])
    assert autosave.save_now()
    assert class_names(seen_after_a_crash(folder, tmp_path, viewer)) == [*NAMES, "vesicle"]


def test_a_closed_layer_is_kept_but_not_left_over(layer, autosave, folder, viewer):
    layer.paint((0, 5, 6), 2)
    viewer.layers.remove(layer)
    assert autosave.save_now()
    assert left_over() == []
    assert [saved.name for saved in kept()] == ["cells · annotation"]


def test_a_closed_session_saves_its_last_stroke(layer, autosave, folder, viewer):
    layer.paint((0, 5, 6), 2)
    autosave.close()
    (saved,) = kept()
    assert saved.has_ended
    np.testing.assert_array_equal(restore(viewer, saved).data, layer.data)


def test_a_closed_session_does_not_follow_the_viewer_any_more(autosave, viewer):
    following = len(viewer.layers.events.removed.callbacks)
    autosave.close()
    assert len(viewer.layers.events.removed.callbacks) == following - 1


def test_a_restored_layer_is_saved_where_it_was(layer, autosave, folder, tmp_path, viewer, image):
    layer.paint((0, 5, 6), 2)
    autosave.close()
    there = after_a_crash(folder, tmp_path)
    back = restore(viewer, kept(there)[0])
    again = Autosave(viewer, there)
    again.watch(back, image)
    back.paint((0, 400, 400), 1)
    assert again.save_now()
    assert len(list(there.iterdir())) == 1
    again.close()
    np.testing.assert_array_equal(restore(viewer, kept(there)[0]).data, back.data)


def test_what_is_discarded_is_gone(layer, autosave, folder):
    layer.paint((0, 5, 6), 2)
    autosave.close()
    discard(kept()[0])
    assert list(folder.iterdir()) == []


def test_a_damaged_description_is_a_kind_sentence(layer, autosave, folder, viewer):
    layer.paint((0, 5, 6), 2)
    autosave.close()
    next(folder.glob(f"*/{STATE}")).write_bytes(b"{")
    (saved,) = left_over()
    with pytest.raises(FileError, match="cannot be read"):
        restore(viewer, saved)


def test_of_a_damaged_file_the_others_come_back(layer, autosave, folder, viewer):
    layer.paint((0, 5, 6), 2)
    layer.paint((0, 400, 400), 1)
    autosave.close()
    next(folder.glob("*/block-0-0-0.npz")).write_bytes(b"")
    back = restore(viewer, kept()[0])
    expected = layer.data.copy()
    expected[:, :BLOCK_PX, :BLOCK_PX] = 0
    np.testing.assert_array_equal(back.data, expected)
    assert "1 of 2 blocks" in notification_manager.records[-1].message


def test_a_full_disk_is_told_and_nothing_is_forgotten(layer, autosave, folder, qtbot):
    folder.write_text("a file where the folder should be")
    with qtbot.waitSignal(autosave.failed, timeout=20_000) as told:
        layer.paint((0, 5, 6), 2)
    assert "not saved in the background" in told.args[0]
    os.remove(folder)
    assert autosave.save_now(20)
    assert files(folder) == ["block-0-0-0.npz"]
