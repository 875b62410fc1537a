"""What a method says beside its labels reaches the result: a table, notes and further images."""

from __future__ import annotations

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.result import ExtraImage, MethodOutput
from napari_tessera.engine import api
from napari_tessera.engine import bind as binding
from napari_tessera.engine.replay import result_taken
from napari_tessera.engine.run import keep_inside
from napari_tessera.io import read_labels, write_result
from napari_tessera.methods import registry
from napari_tessera.methods.registry import method_named
from tests.helpers import sides_method

IMAGE = np.array([[9, 0, 0, 0, 9, 9], [9, 0, 9, 0, 0, 0]], np.uint8)
LABELS = np.array([[1, 0, 0, 0, 2, 2], [1, 0, 3, 0, 0, 0]])
HALVES = np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2]])


@pytest.fixture(autouse=True)
def _method_of_sides(monkeypatch):
    monkeypatch.setattr(registry, "METHODS", (*registry.METHODS, sides_method.METHOD))


def test_further_images_come_after_the_labels():
    images = tessera.segment("sides", IMAGE).images
    assert [(image.name, image.kind) for image in images] == [
        ("sides", "objects"),
        ("halves", "classes"),
        ("again", "objects"),
    ]
    np.testing.assert_array_equal(images[0].data, LABELS)
    np.testing.assert_array_equal(images[1].data, HALVES)
    assert images[1].table["side"].tolist() == ["left", "right"]
    assert images[1].spatial == images[0].spatial


def test_columns_of_the_method_come_before_the_measured_ones():
    table = tessera.segment("sides", IMAGE).table
    assert list(table)[:3] == ["label", "name", "num_pixels"]
    assert table["name"].tolist() == ["object 1", "object 2", "object 3"]


def test_a_note_is_told_once_for_all_frames():
    assert tessera.segment("sides", np.stack([IMAGE] * 3), axes="TYX").notes == ("Only sides were told.",)


def test_objects_of_every_image_are_numbered_on_and_classes_keep_their_number():
    main, halves, again = tessera.segment("sides", np.stack([IMAGE, IMAGE]), axes="TYX").images
    for image in (main, again):
        np.testing.assert_array_equal(image.data, [LABELS, np.where(LABELS, LABELS + 3, 0)])
    np.testing.assert_array_equal(halves.data, [HALVES, HALVES])
    assert main.table["label"].tolist() == [1, 2, 3, 4, 5, 6]
    assert halves.table["t"].tolist() == [0, 0, 1, 1]


def test_axes_of_further_images_are_in_the_order_of_the_image():
    image = np.moveaxis(np.stack([IMAGE, IMAGE]), 0, -1)
    _, halves, _ = tessera.segment("sides", image, axes="YXT").images
    np.testing.assert_array_equal(halves.data, np.moveaxis([HALVES, HALVES], 0, -1))


def test_every_image_is_zero_outside_the_region():
    right = np.array([[0, 3], [0, 5], [1, 5], [1, 3]])
    main, halves, again = tessera.segment("sides", IMAGE, region=tessera.Region(polygons=(right,))).images
    only_right = np.where(HALVES == 2, LABELS, 0) > 0
    np.testing.assert_array_equal(main.data, only_right)
    np.testing.assert_array_equal(again.data, only_right)
    assert halves.data[:, :3].max() == 0
    assert main.table["label"].tolist() == [1]


def test_segments_cut_by_a_region_keep_their_order():
    labels = np.array([[3, 3, 1, 2]])
    table = {"label": np.array([1, 2, 3]), "score": np.array([0.9, 0.8, 0.7])}
    found = keep_inside(MethodOutput(labels, table), np.array([[True, True, False, True]]), "segments")
    assert found.labels.tolist() == [[2, 2, 0, 1]]
    assert found.table["score"].tolist() == [0.8, 0.7]


def test_plain_function_returns_labels_further_images_and_the_table():
    labels, halves, again, table = api.plain(method_named("sides"))(IMAGE)
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(halves, HALVES)
    np.testing.assert_array_equal(again, LABELS)
    assert table["name"].tolist() == ["object 1", "object 2", "object 3"]


def test_notes_of_blocks_are_told_once():
    in_blocks = tessera.segment("sides", IMAGE, blocks=(2, 3))
    assert in_blocks.notes == ("Only sides were told.",)
    assert [image.name for image in in_blocks.images] == ["sides"]
    np.testing.assert_array_equal(in_blocks.labels > 0, IMAGE > 0)


def test_plain_function_on_an_image_too_large_for_memory_returns_a_table_too(monkeypatch):
    monkeypatch.setattr(binding, "fits_in_memory", lambda image: False)
    labels, table = api.plain(method_named("sides"))(da.from_array(IMAGE))
    np.testing.assert_array_equal(labels > 0, IMAGE > 0)
    assert table["label"].tolist() == list(range(1, labels.max() + 1))


def test_every_image_is_a_file_and_its_table_too(tmp_path):
    written = write_result(tessera.segment("sides", IMAGE), tmp_path / "cells.tif")
    names = {path.name for path in written}
    assert names == {
        "cells.tif", "cells-halves.tif", "cells-again.tif", "cells.json", "cells.csv", "cells-halves.csv",
    }  # fmt: skip
    np.testing.assert_array_equal(np.asarray(read_labels(tmp_path / "cells-halves.tif").data), HALVES)
    assert (tmp_path / "cells-halves.csv").read_text(encoding="utf-8").split() == ["label,side", "1,left", "2,right"]


def test_command_says_where_every_image_is(tmp_path, capsys):
    from napari_tessera.cli.main import main

    np.save(tmp_path / "cells.npy", IMAGE)
    assert main(["sides", str(tmp_path / "cells.npy"), "-o", str(tmp_path / "out.tif")]) == 0
    printed = capsys.readouterr()
    assert f"-> {tmp_path / 'out.tif'}, {tmp_path / 'out-halves.tif'}, {tmp_path / 'out-again.tif'}" in printed.out
    assert "Only sides were told." in printed.err


def test_next_step_of_a_recipe_takes_the_first_image():
    first = tessera.segment("sides", IMAGE)
    second = tessera.segment("refine", first.labels, min_size=2)
    recipe = json.loads(json.dumps([first.provenance, second.provenance]))
    np.testing.assert_array_equal(tessera.run(recipe, IMAGE).labels, second.labels)


def test_next_step_of_a_recipe_takes_the_image_that_the_record_names():
    first = tessera.segment("sides", IMAGE)
    record = {**first.provenance, "taken": "halves"}
    np.testing.assert_array_equal(result_taken(first, record), HALVES)
    second = tessera.segment("refine", HALVES, min_size=2, input_records={"labels": record})
    np.testing.assert_array_equal(tessera.run(second.provenance, IMAGE).labels, second.labels)


def test_labels_alone_and_labels_with_a_table_are_found_too():
    assert MethodOutput.of(LABELS).labels is LABELS
    assert MethodOutput.of((LABELS, {"label": np.array([1])})).table["label"].tolist() == [1]
    found = MethodOutput(LABELS, others=(ExtraImage("halves", "classes", HALVES),))
    assert MethodOutput.of(found) is found
    assert replace(found, notes=("Said.",)).others[0].table == {}
