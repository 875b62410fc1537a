"""From a method's name and arrays to a result: axes, spacing, regions, sizes, recipes."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.spatial import Spatial
from napari_tessera.engine.bind import bind
from napari_tessera.models import header, registry
from napari_tessera.models.header import read_header
from tests.helpers.scenes import blobs, two_boxes


def test_unknown_method_names_the_nearest():
    with pytest.raises(ParameterError, match=r"Did you mean 'threshold'\?"):
        tessera.segment("treshold", blobs())


def test_seconds_of_the_record_are_those_that_the_user_waited(monkeypatch):
    real = tessera.engine.api.bind
    monkeypatch.setattr(tessera.engine.api, "bind", lambda *args, **options: time.sleep(0.3) or real(*args, **options))
    assert tessera.segment("threshold", blobs()).provenance["seconds"] >= 0.3


def test_labels_above_63_bits_get_new_numbers_and_a_note():
    labels = np.zeros((8, 8), np.uint64)
    labels[1:3, 1:3], labels[5:7, 5:7] = 2**64 - 5, 3
    result = tessera.segment("refine", labels)
    assert result.labels.max() == 2
    assert "`labels` go up to 18,446,744,073,709,551,611" in result.notes[0]
    seeded = bind("watershed", np.arange(64.0).reshape(8, 8), markers=labels)
    assert seeded.inputs["markers"].max() == 2
    assert "`markers` go up to" in seeded.notes[0]
    assert labels.max() == 2**64 - 5  # the input is not changed


def test_unknown_setting_names_the_nearest():
    with pytest.raises(ParameterError, match=r"no parameter `markrs`\. Did you mean `markers`\?"):
        tessera.segment("watershed", blobs(), markrs=blobs())


def test_replay_refuses_an_unknown_input_and_names_the_nearest():
    record = tessera.segment("watershed", blobs()).provenance
    with pytest.raises(ParameterError, match=r"recipe takes no input `markrs`\. Did you mean `markers`\?"):
        tessera.run(record, blobs(), markrs=blobs())
    with pytest.raises(ParameterError, match=r"takes no input `sigma`\. It takes: markers, mask\."):
        tessera.run(record, blobs(), sigma=2)


def test_a_record_of_an_unknown_input_is_refused():
    with pytest.raises(ParameterError, match=r"`input_records` names `markrs`\. Did you mean `markers`\?"):
        tessera.segment("watershed", blobs(), input_records={"markrs": {}})


def test_methods_can_be_read():
    names = [method.name for method in tessera.list_methods()]
    assert names[:3] == ["threshold", "region_growing", "watershed"]
    assert all(method.title and method.summary for method in tessera.list_methods())


@pytest.mark.parametrize(
    ("axes", "message"),
    [("YXC", "names 3 axes"), ("YY", "each letter once"), ("TX", "needs Y and X"), ("Y2", "one letter per axis")],
)
def test_wrong_axes_are_refused_with_an_example(axes, message):
    with pytest.raises(InputError, match=message):
        tessera.segment("threshold", blobs(), axes=axes)


def test_five_axes_must_be_named():
    with pytest.raises(InputError, match="name them with `axes`"):
        tessera.segment("threshold", np.zeros((1, 1, 1, 4, 4)))


def test_eight_bit_colour_is_recognised():
    image = np.stack([blobs()] * 3, axis=-1)
    assert tessera.segment("threshold", image).provenance["axes"] == "YXC"


@pytest.mark.parametrize("spacing", [0, -1, (1, 2, 3), "wide", (1, np.nan)])
def test_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(InputError, match="one positive number for each of the axes Y, X"):
        tessera.segment("threshold", blobs(), spacing=spacing)


def test_placement_follows_the_axes():
    result = tessera.segment("threshold", np.stack([blobs()] * 2), axes="TYX", spacing=(0.5, 0.25), unit="µm")
    spatial = result.images[0].spatial
    assert spatial.axes == "TYX"
    assert spatial.scale == (1.0, 0.5, 0.25)
    assert spatial.units == ("pixel", "µm", "µm")


@pytest.mark.parametrize("unit", ["s", "kg", "foo", "second", "\x1b", "a" * 200])
def test_a_unit_that_is_no_length_is_refused_by_name(unit):
    with pytest.raises(InputError, match=r"`unit`: '.*' is no unit of length that is known.*micrometer.*pixel"):
        tessera.segment("threshold", blobs(), spacing=0.5, unit=unit)


@pytest.mark.parametrize("unit", ["", "pixel", "px", "inch", "Å", "cm"])
def test_lengths_and_pixels_are_units(unit):
    assert tessera.segment("threshold", blobs(), spacing=0.5, unit=unit).images[0].spatial.spacing == (0.5, 0.5)


def test_a_record_of_an_image_in_an_odd_unit_is_replayed():
    spatial = Spatial("YX", (0.5, 0.5), (0.0, 0.0), ("parsec", "parsec"))
    result = tessera.segment("threshold", blobs(), spatial=spatial)
    np.testing.assert_array_equal(tessera.run(result.provenance, blobs()).labels, result.labels)


def test_areas_in_the_table_are_in_the_unit_of_the_spacing():
    result = tessera.segment("threshold", blobs(), output="objects", spacing=0.5, unit="µm")
    np.testing.assert_allclose(result.table["area"], [42 / 4, 63 / 4])


def test_table_is_a_data_frame_for_pandas():
    result = tessera.segment("threshold", blobs(), output="objects")
    frame = result.to_dataframe()
    assert list(frame.columns) == list(result.table)
    assert frame["label"].tolist() == [1, 2]


def test_sizes_in_the_unit_of_the_spacing():
    options = {"output": "objects", "spacing": 0.5, "unit": "µm"}
    small = tessera.segment("threshold", blobs(), units="physical", min_size=12, **options)
    assert small.provenance["parameters"]["min_size"] == 48
    np.testing.assert_array_equal(small.labels, tessera.segment("threshold", blobs(), min_size=48, **options).labels)


def test_sizes_in_a_unit_need_a_spacing():
    with pytest.raises(InputError, match="Give `spacing`"):
        tessera.segment("threshold", blobs(), units="physical", output="objects", min_size=12)


def test_labels_outside_a_drawn_region_are_zero():
    square = np.array([[0, 0], [0, 11], [10, 11], [10, 0]])
    region = tessera.Region(polygons=(square,))
    result = tessera.segment("threshold", blobs(), output="objects", region=region)
    assert result.labels.shape == blobs().shape
    np.testing.assert_array_equal(result.labels > 0, two_boxes() == 1)
    assert result.table["label"].tolist() == [1]


def test_objects_cut_by_a_region_are_numbered_anew():
    triangle = np.array([[10, 10], [10, 23], [19, 23]])
    result = tessera.segment("threshold", blobs(), output="objects", region=tessera.Region(polygons=(triangle,)))
    assert set(np.unique(result.labels)) == {0, 1}
    assert not result.labels[17, 12]


def test_only_one_plane_is_segmented_in_2d():
    stack = np.stack([blobs(), blobs(), blobs()])
    result = tessera.segment("threshold", stack, axes="ZYX", region=tessera.Region(planes={"Z": 1}))
    assert not result.labels[[0, 2]].any()
    np.testing.assert_array_equal(result.labels[1], two_boxes() > 0)


def test_region_outside_the_image_is_refused():
    far = tessera.Region(polygons=(np.array([[90, 90], [90, 99], [99, 99]]),))
    with pytest.raises(InputError, match="outside the image"):
        tessera.segment("threshold", blobs(), region=far)


def test_plane_that_is_none_is_refused():
    with pytest.raises(InputError, match="plane 9 of axis T"):
        tessera.segment("threshold", blobs()[None], axes="TYX", region=tessera.Region(planes={"T": 9}))


def test_region_replays():
    square = np.array([[0, 0], [0, 11], [10, 11], [10, 0]])
    result = tessera.segment("threshold", blobs(), region=tessera.Region(polygons=(square,)))
    record = json.loads(json.dumps(result.provenance))
    np.testing.assert_array_equal(tessera.run(record, blobs()).labels, result.labels)


def test_recipe_of_two_steps_hands_labels_on():
    first = tessera.segment("threshold", blobs(), output="objects")
    second = tessera.segment("refine", first.labels, min_size=50)
    recipe = json.loads(json.dumps([first.provenance, second.provenance]))
    np.testing.assert_array_equal(tessera.run(recipe, blobs()).labels, second.labels)


def test_record_of_a_step_on_labels_makes_them_anew():
    first = tessera.segment("threshold", blobs(), output="objects")
    second = tessera.segment("refine", first.labels, min_size=50, input_records={"labels": first.provenance})
    record = json.loads(json.dumps(second.provenance))
    np.testing.assert_array_equal(tessera.run(record, blobs()).labels, second.labels)


def test_record_of_a_step_on_labels_takes_those_very_labels_too():
    first = tessera.segment("threshold", blobs(), output="objects")
    second = tessera.segment("refine", first.labels, min_size=50, input_records={"labels": first.provenance})
    again = tessera.run(second.provenance, first.labels.astype(np.uint8))
    np.testing.assert_array_equal(again.labels, second.labels)


def test_painted_seeds_travel_with_the_record():
    result = tessera.segment("region_growing", blobs(), seeds=two_boxes(), tolerance=0.2)
    record = json.loads(json.dumps(result.provenance))
    np.testing.assert_array_equal(tessera.run(record, blobs()).labels, result.labels)


def test_record_says_what_ran():
    record = tessera.segment("threshold", blobs(), method="li", name="cells.tif", spacing=0.5, unit="µm").provenance
    assert record["method"] == "threshold"
    assert record["parameters"]["method"] == "li"
    assert record["spacing"] == [0.5, 0.5]
    assert record["inputs"]["image"]["name"] == "cells.tif"
    assert len(record["inputs"]["image"]["sha256"]) == 64
    assert record["versions"]["numpy"] == np.__version__
    assert record["seconds"] >= 0


@pytest.mark.parametrize("recipe", [[], {}, {"method": "threshold"}, "threshold", 3, [3]])
def test_what_is_no_recipe_is_refused(recipe):
    with pytest.raises((InputError, ParameterError), match="recipe"):
        tessera.run(recipe, blobs())


def test_recipe_of_a_newer_version_is_refused():
    record = {**tessera.segment("threshold", blobs()).provenance, "tessera": 99}
    with pytest.raises(InputError, match="Update napari-tessera"):
        tessera.run(record, blobs())


@pytest.mark.parametrize("damage", [{"parameters": 3}, {"inputs": [1]}, {"inputs": {"image": 4}}, {"region": "x"}])
def test_damaged_recipe_is_refused(damage):
    record = {**tessera.segment("threshold", blobs()).provenance, **damage}
    with pytest.raises(InputError, match="recipe is damaged"):
        tessera.run(record, blobs())


def test_format_that_is_no_number_is_called_damaged():
    record = {**tessera.segment("threshold", blobs()).provenance, "tessera": "1"}
    with pytest.raises(InputError, match="recipe is damaged: its format is '1'"):
        tessera.run(record, blobs())


@pytest.mark.parametrize("seeds", [np.zeros((0, 2)), [], np.zeros_like(two_boxes())])
def test_seeds_that_are_none_are_refused(seeds):
    with pytest.raises(InputError, match="`seeds` is empty"):
        tessera.segment("region_growing", blobs(), seeds=seeds)


def test_markers_of_the_wrong_shape_are_told_the_shape_of_the_image():
    with pytest.raises(InputError, match=r"`markers` has shape \(10, 10\), but the image needs \(20, 24\)"):
        tessera.segment("watershed", blobs(), markers=np.ones((10, 10), int))


def test_recipe_cannot_name_a_file_to_write(tmp_path):
    record = tessera.segment("threshold", blobs()).provenance
    record["parameters"]["out"] = str(tmp_path / "labels.zarr")
    with pytest.raises(ParameterError, match="no parameter `out`"):
        tessera.run(record, blobs())
    assert not list(tmp_path.iterdir())


def test_damaged_seeds_in_a_record_are_refused():
    record = tessera.segment("region_growing", blobs(), seeds=two_boxes()).provenance
    record["inputs"]["seeds"]["zlib"] = "AAAA"
    with pytest.raises(tessera.TesseraError, match="damaged"):
        tessera.run(record, blobs())


def test_channel_axis_of_a_direct_call_may_be_anywhere():
    image = np.stack([blobs(), blobs() // 2], axis=0)
    first = tessera.threshold(image, channel_axis=0)
    np.testing.assert_array_equal(first, tessera.threshold(np.moveaxis(image, 0, 1), channel_axis=1))


def test_direct_call_with_too_many_axes_points_to_segment():
    with pytest.raises(InputError, match=r"tessera\.segment"):
        tessera.threshold(np.zeros((2, 2, 2, 2)))


def test_nothing_found_is_said():
    result = tessera.segment("threshold", np.zeros((5, 5)))
    assert "Nothing was found" in result.notes[0]


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_image_that_may_be_in_colour_gets_a_note(dtype):
    image = np.zeros((6, 8, 3), dtype)
    image[2:4] = 9
    (note,) = tessera.segment("threshold", image, sigma=0).notes
    assert "guessed as ZYX" in note
    assert "if the last axis holds colours, give axes='YXC'" in note
    assert tessera.segment("threshold", image, axes="ZYX", sigma=0).notes == ()


def test_image_taken_for_colours_gets_no_note():
    image = np.zeros((6, 8, 3), np.uint8)
    image[2:4] = 9
    assert tessera.segment("threshold", image, sigma=0).notes == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_direct_call_takes_what_looks_like_colours_for_them(dtype):
    image = np.zeros((40, 50, 3), dtype)
    image[5:20, 5:20, 1] = 200
    labels = tessera.threshold(image)
    np.testing.assert_array_equal(labels, tessera.threshold(image, channel_axis=-1))
    assert labels.shape == (40, 50)
    assert tessera.threshold(image, channel_axis=None).shape == (40, 50, 3)


def test_direct_call_takes_a_thin_volume_for_a_volume():
    assert tessera.threshold(np.zeros((40, 8, 3))).shape == (40, 8, 3)


@pytest.mark.parametrize("method", ["threshold", "kmeans", "watershed"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u4"])
def test_the_order_of_bytes_does_not_matter(method, dtype):
    image = np.kron([[0, 1], [1, 0]], np.ones((8, 8))) * (0.5 if dtype == "f2" else 200)
    little, big = (tessera.segment(method, image.astype(order + dtype)).labels for order in "<>")
    assert little.any()
    np.testing.assert_array_equal(little, big)


@pytest.mark.parametrize(("method", "files"), [("unet", 1), ("mask_rcnn", 2)])
def test_runs_read_the_header_of_each_of_their_models_once(monkeypatch, method, files):
    paths = []
    monkeypatch.setattr(header, "read_header", lambda path: paths.append(path) or read_header(path))
    registry._header.cache_clear()
    for _ in range(2):
        tessera.segment(method, np.zeros((32, 32), np.uint8), diameter=20.0)
    assert len(paths) == len(set(paths)) == files
