"""COCO panoptic PNG and JSON: what is written comes back, and foreign or damaged files are refused kindly."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import napari_tessera as tessera
from napari_tessera.core.errors import FileError
from napari_tessera.core.labels import Segments
from napari_tessera.io import read_coco_panoptic, write_coco_panoptic
from tests.helpers.panoptic_scene import PREDICTION, TRUTH


def small(numbers=(1, 70_000), scores=(0.5, np.nan)):
    """A cell and a ground of two pixels each, with a void pixel."""
    labels = np.array([[numbers[0], numbers[0], 0], [numbers[1], numbers[1], 0]])
    kinds = np.array(["cell", "ground"]), np.array([True, False]), np.zeros(2, bool), np.array(scores)
    return Segments(labels, np.array(numbers), *kinds)


@pytest.fixture
def written(tmp_path):
    """A sound file of one image."""
    write_coco_panoptic(tmp_path / "scene.json", [("cells.tif", small())])
    return tmp_path / "scene.json"


def test_segments_come_back_as_they_were(tmp_path):
    images = [("first.tif", TRUTH), ("second.tif", PREDICTION)]
    write_coco_panoptic(tmp_path / "scene.json", images)
    read = read_coco_panoptic(tmp_path / "scene.json")
    assert read.names == ["first", "second"]
    for (_, before), after in zip(images, read, strict=True):
        np.testing.assert_array_equal(after.labels, before.labels)
        for name in ("numbers", "classes", "is_thing", "is_crowd", "scores"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert tessera.evaluate_panoptic(*read) == tessera.evaluate_panoptic(TRUTH, PREDICTION)


def test_colours_are_the_number_of_the_segment(written):
    colours = np.asarray(Image.open(written.with_suffix("") / "cells.png"))
    assert colours[0, 0].tolist() == [1, 0, 0]
    assert colours[1, 0].tolist() == [70_000 % 256, 70_000 // 256 % 256, 70_000 // 65_536]
    assert colours[0, 2].tolist() == [0, 0, 0]


def test_json_says_what_the_format_asks_for(written):
    content = json.loads(written.read_text())
    assert content["images"] == [{"id": 1, "file_name": "cells.tif", "width": 3, "height": 2}]
    (annotation,) = content["annotations"]
    assert (annotation["image_id"], annotation["file_name"]) == (1, "cells.png")
    assert annotation["segments_info"] == [
        {"id": 1, "category_id": 1, "area": 2, "bbox": [0, 0, 2, 1], "iscrowd": 0, "score": 0.5},
        {"id": 70_000, "category_id": 2, "area": 2, "bbox": [0, 1, 2, 1], "iscrowd": 0},
    ]
    assert [(each["name"], each["isthing"]) for each in content["categories"]] == [("cell", 1), ("ground", 0)]


def test_png_files_may_lie_beside_the_json_or_elsewhere(written, tmp_path):
    folder = written.with_suffix("")
    folder.rename(tmp_path / "masks")
    assert read_coco_panoptic(written, tmp_path / "masks")[0].labels[1, 0] == 70_000
    (tmp_path / "masks" / "cells.png").rename(tmp_path / "cells.png")
    assert read_coco_panoptic(written)[0].labels[1, 0] == 70_000


def test_nothing_is_written_over_without_leave(written):
    with pytest.raises(FileError, match="exists already"):
        write_coco_panoptic(written, [("cells.tif", small())])
    write_coco_panoptic(written, [("cells.tif", small((3, 4)))], overwrite=True)
    assert read_coco_panoptic(written)[0].labels[0, 0] == 3


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (small((1, 2**24)), "has the segment 16777216, but COCO's panoptic format goes up to 16777215"),
        (replace(small(), labels=np.zeros((2, 2, 2), int)), "holds planes"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path, segments, message):
    with pytest.raises(FileError, match=message):
        write_coco_panoptic(tmp_path / "scene.json", [("cells.tif", segments)])
    assert not list(tmp_path.iterdir())


def test_two_images_of_one_name_are_refused(tmp_path):
    with pytest.raises(FileError, match="Two images are named cells"):
        write_coco_panoptic(tmp_path / "scene.json", [("a/cells.tif", small()), ("b/cells.tif", small())])


def test_name_must_end_in_json(tmp_path):
    with pytest.raises(FileError, match=r"must end in \.json"):
        write_coco_panoptic(tmp_path / "scene.png", [])


def without(key):
    return lambda content: content.pop(key)


def segment_changed(**change):
    return lambda content: content["annotations"][0]["segments_info"][0].update(change)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("annotations"), 'no list "annotations"'),
        (without("categories"), 'no list "categories"'),
        (lambda content: content["annotations"][0].pop("segments_info"), 'no list "segments_info"'),
        (lambda content: content["annotations"][0].update(segmentation=[]), "COCO instances"),
        (lambda content: content["annotations"][0].pop("file_name"), "names no PNG file"),
        (lambda content: content["annotations"][0].update(file_name="../cells.png"), "outside the folder"),
        (lambda content: content["annotations"][0].update(file_name="other.png"), "There is no file"),
        (lambda content: content["categories"][0].pop("isthing"), 'must have "isthing"'),
        (lambda content: content["categories"].append(content["categories"][0]), "appears twice"),
        (lambda content: [entry.update(name="cell") for entry in content["categories"]], "both things and stuff"),
        (segment_changed(category_id=9), "unknown category"),
        (segment_changed(id=70_000), "needs a unique number"),
        (segment_changed(id=0), "needs a unique number"),
        (segment_changed(id=5), "pixels of segment 1, which"),
    ],
)
def test_damaged_json_is_explained(written, damage, message):
    content = json.loads(written.read_text())
    damage(content)
    written.write_text(json.dumps(content))
    with pytest.raises(FileError, match=message):
        list(read_coco_panoptic(written))


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "3", '{"annotations": 4}', '{"annotations": [], "categories": [1]}']
)
def test_what_is_no_such_json_is_refused(tmp_path, text):
    (tmp_path / "scene.json").write_text(text)
    with pytest.raises(FileError, match=r"scene\.json"):
        read_coco_panoptic(tmp_path / "scene.json")


def test_segment_without_a_pixel_is_refused(written):
    file = written.with_suffix("") / "cells.png"
    colours = np.array(Image.open(file))
    colours[0] = 0
    Image.fromarray(colours).save(file)
    with pytest.raises(FileError, match="describes segment 1, which has no pixel"):
        read_coco_panoptic(written)[0]


def test_grey_png_is_refused_with_advice(written):
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(written.with_suffix("") / "cells.png")
    with pytest.raises(FileError, match="stored as colours"):
        read_coco_panoptic(written)[0]


def test_damaged_png_is_refused(written):
    file = written.with_suffix("") / "cells.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(FileError, match="damaged or cut off"):
        read_coco_panoptic(written)[0]
