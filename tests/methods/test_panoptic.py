"""The method `panoptic`: things and stuff from layers, methods and models, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.engine import api
from napari_tessera.io import read_labels, write_result
from napari_tessera.models.weights import save_model
from tests.helpers.tiny_models import BrightDetector, save_bright, small_mask_rcnn

CELLS = np.array([[7, 7, 0, 0, 0, 4], [7, 7, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0]])
TISSUE = np.array([[0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2]])
SEGMENTS = [[1, 1, 3, 4, 4, 2], [1, 1, 3, 4, 4, 2], [3, 3, 3, 4, 4, 4]]
CLASSES = [[2, 2, 1, 4, 4, 2], [2, 2, 1, 4, 4, 2], [1, 1, 1, 4, 4, 4]]
IMAGE = np.zeros((3, 6), np.uint8)


def of_layers(**options):
    return tessera.segment("panoptic", IMAGE, things=CELLS, stuff=TISSUE, smallest_stuff=0, **options)


def two_squares():
    """A bright and a dimmer square on black, in 24 by 40 pixels."""
    image = np.zeros((24, 40), np.uint8)
    image[4:14, 4:14], image[8:20, 22:34] = 200, 120
    return image


def test_two_layers_are_fused():
    result = of_layers()
    assert result.labels.tolist() == SEGMENTS
    assert [image.name for image in result.images] == ["panoptic", "classes"]
    assert [image.kind for image in result.images] == ["segments", "classes"]
    assert result.images[1].data.tolist() == CLASSES


def test_things_of_a_result_are_without_stuff_and_a_replay_makes_them_again():
    first = of_layers()
    things = first.images[0].things
    assert things.tolist() == [[1, 1, 0, 0, 0, 2], [1, 1, 0, 0, 0, 2], [0, 0, 0, 0, 0, 0]]
    record = {**first.provenance, "taken": "things"}
    second = tessera.segment("panoptic", IMAGE, things=things, stuff=TISSUE, input_records={"things": record})
    np.testing.assert_array_equal(tessera.run(second.provenance, IMAGE).labels, second.labels)


def test_table_says_class_kind_and_area_of_each_segment():
    table = of_layers().table
    assert list(table)[:5] == ["label", "class", "kind", "score", "num_pixels"]
    assert table["class"].tolist() == ["object", "object", "background", "class 2"]
    assert table["kind"].tolist() == ["thing", "thing", "stuff", "stuff"]
    assert table["num_pixels"].tolist() == [4, 2, 5, 7]


def test_who_gives_layers_wants_things_and_stuff_from_them():
    parameters = of_layers().provenance["parameters"]
    assert (parameters["things_from"], parameters["stuff_from"]) == ("layer", "layer")
    assert of_layers().provenance["model"] is None


def test_volumes_are_fused_in_one_piece():
    things, stuff = np.stack([CELLS, CELLS]), np.stack([TISSUE, TISSUE])
    result = tessera.segment("panoptic", np.stack([IMAGE] * 2), things=things, stuff=stuff, smallest_stuff=0)
    assert result.labels.tolist() == [SEGMENTS, SEGMENTS]


def test_classes_keep_their_number_from_frame_to_frame_and_segments_are_numbered_on():
    tissue = np.stack([TISSUE, np.zeros_like(TISSUE)])
    result = tessera.segment(
        "panoptic", np.stack([IMAGE] * 2), axes="TYX", things=np.stack([CELLS] * 2), stuff=tissue, smallest_stuff=0
    )
    assert result.labels[1, 0].tolist() == [5, 5, 7, 7, 7, 6]
    assert result.images[1].data[1, 0].tolist() == [2, 2, 1, 1, 1, 2]
    assert result.images[1].table["t"].tolist() == [0, 0, 0, 1, 1]


def test_segments_outside_a_region_are_none_and_the_others_keep_their_order():
    right = np.array([[0, 3], [0, 5], [2, 5], [2, 3]])
    result = of_layers(region=tessera.Region(polygons=(right,)))
    assert result.labels[0].tolist() == [0, 0, 0, 2, 2, 1]
    assert result.table["class"].tolist() == ["object", "class 2"]
    assert result.table["num_pixels"].tolist() == [2, 7]
    assert result.images[1].data[0].tolist() == [0, 0, 0, 4, 4, 2]


def test_record_replays_both_images():
    record = json.loads(json.dumps(of_layers().provenance))
    again = tessera.run(record, IMAGE)
    assert again.labels.tolist() == SEGMENTS
    assert again.images[1].data.tolist() == CLASSES


def test_function_returns_segments_classes_and_table():
    segments, classes, table = tessera.panoptic(IMAGE, CELLS, TISSUE, smallest_stuff=0)
    assert segments.tolist() == SEGMENTS
    assert classes.tolist() == CLASSES
    assert table["label"].tolist() == [1, 2, 3, 4]


def test_watershed_finds_things_and_threshold_the_stuff_they_lie_on():
    image = two_squares()
    image[18:, :] = 60
    options = {"things_from": "watershed", "stuff_from": "threshold", "sigma": 0}
    result = tessera.segment("panoptic", image, **options)
    assert result.table["class"].tolist()[:2] == ["object", "object"]
    assert (result.labels > 0).all()


def test_classes_of_kmeans_go_from_dark_to_bright():
    result = tessera.segment("panoptic", two_squares(), things=np.zeros((24, 40), int), stuff_from="kmeans", sigma=0)
    assert result.table["class"].tolist() == ["class 1", "class 2", "class 3"]
    assert result.labels[5, 5] == 3
    assert result.labels[10, 25] == 2


@pytest.mark.parametrize("names", ["lumen, wall", ["lumen", "wall"]])
def test_things_and_stuff_of_layers_have_the_names_that_are_given(names):
    result = of_layers(things_name="cell", stuff_names=names)
    assert result.table["class"].tolist() == ["cell", "cell", "background", "wall"]


@pytest.mark.parametrize("names", ["wall, wall", "background"])
def test_names_of_stuff_that_are_not_their_own_are_refused(names):
    with pytest.raises(ParameterError, match="every class needs a name of its own"):
        of_layers(stuff_names=names)


@pytest.mark.parametrize(("stuff_from", "names"), [("threshold", "a, b, c"), ("kmeans", "a, b, c, d")])
def test_more_names_than_the_stuff_has_classes_are_refused(stuff_from, names):
    with pytest.raises(ParameterError, match=rf"{names}\), but stuff from '{stuff_from}' needs at most (1|3):"):
        tessera.segment("panoptic", two_squares(), stuff_from=stuff_from, stuff_names=names)


def test_layer_of_stuff_may_lack_some_of_the_classes_that_have_names():
    result = of_layers(stuff_names="lumen, wall, vessel")
    assert result.table["class"].tolist() == ["object", "object", "background", "wall"]


def test_notes_of_the_mask_rcnn_name_the_settings_of_panoptic(tmp_path, monkeypatch):
    path = tmp_path / "bright.safetensors"
    header = {"classes": ["background", "small", "large"], "normalisation": {"kind": "colours"}, "diameter_px": 14.0}
    save_model(path, small_mask_rcnn(5, num_classes=3), header)
    monkeypatch.setattr("napari_tessera.inference.predictor.load_detector", lambda path, device: BrightDetector(14.0))
    options = {"things_from": "mask_rcnn", "things_model": str(path), "diameter": 14, "min_score": 0.9}
    dim = two_squares()
    dim[:, :20] //= 2
    (note,) = tessera.segment("panoptic", dim, **options).notes
    assert note.endswith("Lower `min_score` to have them.")


def test_no_things_are_said():
    result = tessera.segment("panoptic", two_squares(), things=np.zeros((24, 40), int))
    assert "No things were found, so that every pixel is stuff." in result.notes


@pytest.fixture
def blob_model(tmp_path):
    """A U-Net that finds what is bright, of objects 10 px wide."""
    return str(save_bright(tmp_path / "bright.safetensors", task="objects", diameter_px=10.0))


def test_things_of_a_model_have_the_name_of_its_class(blob_model):
    result = tessera.segment("panoptic", two_squares(), things_from="unet", things_unet=blob_model)
    assert result.table["class"].tolist()[:2] == ["blob", "blob"]
    np.testing.assert_array_equal(result.labels == 1, tessera.unet(two_squares(), model=blob_model) == 1)


def test_connected_regions_of_a_model_for_classes_are_things(tmp_path):
    model = save_bright(tmp_path / "kinds.safetensors", task="classes", classes=["background", "blob", "ring"])
    result = tessera.segment("panoptic", two_squares(), things_from="unet", things_unet=str(model))
    table = result.table
    assert table["class"][table["kind"] == "thing"].tolist() == ["blob", "blob"]


def test_classes_of_a_model_are_stuff_and_both_models_are_in_the_record(blob_model):
    options = {"things_from": "unet", "things_unet": blob_model, "stuff_from": "unet", "stuff_unet": blob_model}
    result = tessera.segment("panoptic", two_squares(), **options)
    assert set(result.provenance["models"]) == {"things_unet", "stuff_unet"}
    record = json.loads(json.dumps(result.provenance))
    np.testing.assert_array_equal(tessera.run(record, two_squares()).labels, result.labels)


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """A model file of small and large things, in whose place a detector of bright regions runs."""
    path = tmp_path / "detector.safetensors"
    header = {"classes": ["background", "small", "large"], "normalisation": {"kind": "colours"}, "diameter_px": 14.0}
    save_model(path, small_mask_rcnn(5, num_classes=3), header)
    monkeypatch.setattr("napari_tessera.inference.predictor.load_detector", lambda path, device: BrightDetector(14.0))
    return str(path)


def test_things_of_mask_rcnn_have_their_class_and_score(detector):
    image = np.zeros((24, 40), np.uint8)
    image[4:14, 4:14] = image[6:20, 22:36] = 200
    options = {"things_from": "mask_rcnn", "things_model": detector, "diameter": 14.0}
    result = tessera.segment("panoptic", image, **options)
    assert result.table["class"].tolist()[:2] == ["small", "large"]
    assert result.table["kind"].tolist()[:2] == ["thing", "thing"]
    assert result.table["score"][:2].tolist() == pytest.approx([1, 1])
    assert (result.images[1].data[5, 5], result.images[1].data[10, 25]) == (2, 3)
    assert result.provenance["model"]["name"] == "detector"


@pytest.mark.parametrize("name", ["things", "stuff"])
def test_layer_that_is_missing_is_asked_for(name):
    with pytest.raises(InputError, match=f"`{name}_from` is 'layer', but no `{name}` was given. Give labels"):
        tessera.segment("panoptic", IMAGE, **{f"{name}_from": "layer"})


def test_objects_given_as_stuff_are_refused_before_any_work():
    steps = []
    request = api.bind("panoptic", IMAGE, things=CELLS, stuff=TISSUE * 100_000)
    with pytest.raises(InputError, match="holds the number 200000, but classes go up to 65535"):
        run_job(api.job(request), lambda step: steps.append(step.text))
    assert "Numbering" not in steps


def test_every_image_and_table_is_written(tmp_path):
    paths = write_result(of_layers(), tmp_path / "cells.png")
    assert {path.name for path in paths} == {
        "cells.png", "cells-classes.png", "cells.json", "cells.csv", "cells-classes.csv",
    }  # fmt: skip
    assert np.asarray(read_labels(tmp_path / "cells-classes.png").data).tolist() == CLASSES


def test_rims_of_things_are_told_and_how_to_be_rid_of_them():
    image = np.zeros((60, 60))
    image[20:40, 20:40] = 100
    things = np.zeros((60, 60), np.int32)
    things[21:39, 21:39] = 1
    settings = {"things": things, "things_from": "layer", "stuff_from": "threshold", "sigma": 0.0}
    result = tessera.segment("panoptic", image, **settings)
    assert any("set `smallest_stuff` to 77 px or more" in note for note in result.notes)
    assert "foreground" in result.images[1].table["class"]
    without = tessera.segment("panoptic", image, **settings, smallest_stuff=77)
    assert "foreground" not in without.images[1].table["class"]
    assert not any("rims" in note for note in without.notes)


def test_things_cannot_be_called_background():
    with pytest.raises(ParameterError, match="`things_name` is 'background'"):
        tessera.segment("panoptic", np.zeros((9, 9)), things_from="watershed", things_name=" background")
