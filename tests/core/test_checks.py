"""Labels stored as floating-point numbers are taken if they are whole, and otherwise refused for what is so."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

import napari_tessera as tessera
from napari_tessera.cli.main import main
from napari_tessera.core.checks import whole_numbers
from napari_tessera.core.errors import FileError, InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.io import read_labels
from napari_tessera.metrics.panoptic import segments_of_classes
from napari_tessera.training.data.sources import Source, read_frames
from tests.helpers.scenes import blobs, two_boxes

LABELS = np.array([[1, 1, 0, 2, 2]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_whole_numbers_of_every_floating_type_become_int32(dtype):
    found = whole_numbers(LABELS.astype(dtype), "labels")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, LABELS)


def test_numbers_too_large_for_int32_become_int64():
    found = whole_numbers(np.array([0, 2.0**40]), "labels")
    assert (found.dtype, found[1]) == (np.int64, 2**40)


def test_labels_of_an_integer_type_are_not_copied():
    assert whole_numbers(LABELS, "labels") is LABELS


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "cells holds 0.5, but labels are whole numbers"),
        (1_000_000.25, "holds 1000000.25,"),
        (np.nan, "holds nan, but labels are whole numbers"),
        (-np.inf, "holds -inf,"),
        (1e30, "holds 1e\\+30, but labels go from 0"),
        (2.0**63, "up to 2⁶³ − 1"),
    ],
)
def test_value_that_is_no_label_is_named(value, message):
    with pytest.raises(InputError, match=message):
        whole_numbers(np.array([0, value, 3]), "cells")


@pytest.mark.parametrize("task", ["objects", "classes"])
def test_scores_of_floating_labels_are_those_of_integer_ones(task):
    found = tessera.evaluate(two_boxes().astype(float), two_boxes(), task=task)
    assert found == tessera.evaluate(two_boxes(), two_boxes(), task=task)


def test_negative_floating_labels_are_refused_as_integer_ones_are():
    with pytest.raises(InputError, match="holds -1, but labels are 0"):
        tessera.evaluate(np.array([[-1.0, 0, 0, 0, 0]]), LABELS)


def test_methods_on_labels_take_floating_ones():
    np.testing.assert_array_equal(tessera.refine(two_boxes().astype(np.float32)), tessera.refine(two_boxes()))


def test_markers_painted_as_floating_numbers_are_labels_and_no_points():
    markers = two_boxes()
    expected = tessera.watershed(blobs(), markers=markers)
    np.testing.assert_array_equal(tessera.watershed(blobs(), markers=markers.astype(float)), expected)


@pytest.mark.parametrize("call", [tessera.refine, lambda labels: tessera.evaluate(LABELS, labels)])
def test_floating_labels_that_are_not_in_memory_are_refused_unread(call):
    def read(block):
        raise AssertionError("it was read")

    stored = da.zeros((1, 5), chunks=5, dtype=np.float32).map_blocks(read, dtype=np.float32, meta=np.empty((0, 0)))
    stored = stored.astype(np.float32)
    with pytest.raises(InputError, match=r"float32 values and is not in memory.*Convert it to an integer type"):
        call(stored)


def test_segments_are_made_of_floating_labels():
    segments = segments_of_classes(LABELS.astype(float), (LABELS > 0).astype(float))
    assert segments.labels.tolist() == [[1, 1, 0, 2, 2]]


def test_floating_label_file_of_imagej_is_read_as_integers(tmp_path):
    tifffile.imwrite(tmp_path / "cells.tif", two_boxes().astype(np.float32), imagej=True)
    data = read_labels(tmp_path / "cells.tif").data
    assert data.dtype == np.int32
    np.testing.assert_array_equal(data, two_boxes())


def test_stored_floating_labels_in_a_file_are_refused_with_advice(tmp_path):
    zarr.create_array(tmp_path / "cells.zarr", data=two_boxes().astype(np.float32))
    with pytest.raises(FileError, match=r"cells\.zarr holds float32 values and is not in memory"):
        read_labels(tmp_path / "cells.zarr")


def test_evaluate_takes_floating_label_files_and_names_what_is_not_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("truth.npy", LABELS.astype(np.float32))
    np.save("found.npy", LABELS)
    np.save("image.npy", LABELS / 4)
    assert main(["evaluate", "truth.npy", "found.npy"]) == 0
    assert main(["evaluate", "truth.npy", "image.npy"]) == 1
    assert "image.npy holds 0.25, but labels are whole numbers" in capsys.readouterr().err


def test_training_reads_floating_label_files(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", blobs())
    tifffile.imwrite(tmp_path / "labels.tif", two_boxes().astype(np.float32), imagej=True)
    source = Source("a", tmp_path / "image.tif", tmp_path / "labels.tif")
    (frame,) = run_job(read_frames([source], 2, 0))
    assert frame.labels.dtype == np.int32
    np.testing.assert_array_equal(frame.labels, two_boxes())


def test_panoptic_takes_things_from_a_floating_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", blobs())
    tifffile.imwrite("things.tif", two_boxes().astype(np.float32), imagej=True)
    assert main(["panoptic", "image.tif", "-o", "out.tif", "--things", "things.tif", "--quiet"]) == 0
    np.testing.assert_array_equal(tifffile.imread("out.tif") <= 2, two_boxes() > 0)
