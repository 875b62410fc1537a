"""Whatever is given in Python works, or gets an error of ours that names the argument; nothing else, and no warning."""

from __future__ import annotations

from functools import partial

import dask.array as da
import numpy as np
import pytest
import torch

import napari_tessera as tessera
import napari_tessera.io
from napari_tessera.core.errors import InputError, ParameterError, TesseraError, short
from napari_tessera.engine.bind import bind
from napari_tessera.io import read_image, read_labels, read_points
from napari_tessera.methods.registry import METHODS
from napari_tessera.models.registry import import_model
from napari_tessera.training.settings import DECLARATION

HOSTILE = (
    None, "", "abc", "a" * 10_000, "\ud800", "\0", b"x", [], {}, {1}, (1, 2), range(3), object(), int, len, 3 + 4j,
    True, np.array([1, 2]), np.array(3), np.float64("nan"), np.int64(2**62), np.datetime64("2020"),
    float("nan"), float("inf"), -float("inf"), -1, 0, 2**62, 2**70, -(2**70), 10**400, 10**5000, 1e18, 1e308, 1e-320,
)  # fmt: skip
IMAGE = np.random.default_rng(0).integers(0, 255, (12, 12), np.uint8)
LABELS = np.zeros((12, 12), int)
LABELS[2:5, 2:5], LABELS[7:10, 7:10] = 1, 2
NEEDED = {"region_growing": {"seeds": LABELS}, "point": {"points": LABELS}, "compare": {"prediction": LABELS}}
SLOW = ("unet", "mask_rcnn", "panoptic", "point")
LONGEST = 900

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def taken_or_refused(call, value, name):
    """Call with a value: it works, or its error is short and names the argument."""
    said = name
    try:
        call(value)
    except TesseraError as error:
        said = str(error)
    assert name in said
    assert len(said) < LONGEST


PARAMETERS = [(method, parameter.name) for method in METHODS for parameter in method.parameters]


@pytest.mark.parametrize(("method", "name"), PARAMETERS, ids=[f"{method.name}-{name}" for method, name in PARAMETERS])
def test_any_value_of_a_parameter_is_taken_or_refused(method, name):
    main, run = IMAGE if method.takes_image else LABELS, bind if method.name in SLOW else tessera.segment
    for value in HOSTILE:
        taken_or_refused(
            lambda value: run(method.name, main, **NEEDED.get(method.name, {}), **{name: value}), value, name
        )


COMMON = (
    "axes", "spacing", "unit", "spatial", "region", "units", "measure", "name", "input_records", "blocks", "n_workers",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMON)
def test_any_value_of_an_argument_of_all_methods_is_taken_or_refused(name):
    for value in HOSTILE:
        taken_or_refused(lambda value: tessera.segment("threshold", IMAGE, **{name: value}), value, name)


@pytest.mark.parametrize("name", ["scheduler", "out"])
@pytest.mark.parametrize("value", [value for value in HOSTILE if not isinstance(value, str | None)], ids=short)
def test_an_address_or_a_path_must_be_a_text(name, value):
    with pytest.raises(ParameterError, match=f"`{name}` is "):
        tessera.segment("threshold", IMAGE, **{name: value})


INPUTS = [(method, entry.name) for method in METHODS for entry in method.inputs]


@pytest.mark.parametrize(("method", "name"), INPUTS, ids=[f"{method.name}-{name}" for method, name in INPUTS])
def test_any_value_of_an_input_is_taken_or_refused(method, name):
    main = {method.inputs[0].name: IMAGE if method.takes_image else LABELS}
    for value in HOSTILE:
        given = {**main, **NEEDED.get(method.name, {}), name: value}
        image = given.pop(method.inputs[0].name)
        taken_or_refused(partial(bind, method.name, **given), image, method.name)


@pytest.mark.parametrize("value", HOSTILE, ids=short)
def test_any_method_recipe_and_channel_axis_is_taken_or_refused(value):
    record = tessera.segment("threshold", IMAGE).provenance
    taken_or_refused(lambda value: tessera.segment(value, IMAGE), value, "method")
    taken_or_refused(lambda value: tessera.run(value, IMAGE), value, "recipe")
    taken_or_refused(lambda value: tessera.run(record, value), value, "image")
    taken_or_refused(lambda value: tessera.threshold(IMAGE[..., None], channel_axis=value), value, "")


@pytest.mark.parametrize("name", [parameter.name for parameter in DECLARATION.parameters])
def test_any_setting_of_a_training_is_taken_or_refused(name):
    from napari_tessera.training.settings import checked_settings

    for value in HOSTILE:
        taken_or_refused(lambda value: checked_settings({name: value}), value, name)


CALLS = {
    "evaluate": (tessera.evaluate, {"truth": LABELS, "prediction": LABELS}, ("thresholds", "task")),
    "evaluate_many": (tessera.evaluate_many, {"pairs": [(LABELS, LABELS)]}, ("pairs", "thresholds", "task")),
    "evaluate_panoptic": (tessera.evaluate_panoptic, {"truth": None, "prediction": None}, ("truth",)),
    "train": (
        tessera.train,
        {"images": "nowhere", "labels": "nowhere", "out": "model.safetensors"},
        ("images", "labels", "out", "validate_on", "axes", "restart", "overwrite"),
    ),
    "fine_tune": (
        tessera.fine_tune,
        {"images": IMAGE, "painted": np.zeros((3, 3), int), "out": "model.safetensors"},
        ("images", "painted", "out", "axes", "start_from", "restart", "overwrite"),
    ),
    "read_image": (read_image, {}, ("path",)),
    "read_labels": (read_labels, {}, ("path",)),
    "read_points": (read_points, {}, ("path",)),
    "import_model": (import_model, {}, ("path",)),
}
ARGUMENTS = [(call, name) for call, (_, _, names) in CALLS.items() for name in names]


@pytest.mark.parametrize(("call", "name"), ARGUMENTS, ids=["-".join(each) for each in ARGUMENTS])
def test_any_argument_of_other_functions_is_taken_or_refused(call, name):
    function, given, _ = CALLS[call]
    for value in HOSTILE:
        taken_or_refused(lambda value: function(**{**given, name: value}), value, "")


@pytest.mark.parametrize("spacing", [1e300, 1e-320, 1e16, [1e300, 1e-300], 10**400])
def test_a_pixel_beyond_all_measure_is_refused(spacing):
    with pytest.raises(InputError, match=r"`spacing` is .*, from 1e-15 to 1e\+15"):
        tessera.segment("threshold", IMAGE, spacing=spacing)


@pytest.mark.parametrize("spacing", [1e15, 1e-15, [1e15, 1e12]])
@pytest.mark.parametrize("method", ["threshold", "region_growing", "watershed"])
def test_the_largest_and_smallest_pixels_do_not_overflow(method, spacing):
    seeds = NEEDED.get(method, {})
    result = tessera.segment(method, IMAGE, spacing=spacing, **seeds)
    if not isinstance(spacing, list):
        np.testing.assert_array_equal(result.labels, tessera.segment(method, IMAGE, **seeds).labels)
    assert all(np.isfinite(column).all() for column in result.table.values() if column.dtype.kind == "f")


def test_a_dask_array_of_unknown_lengths_says_how_to_find_them():
    array = da.from_array(IMAGE, chunks=4)
    with pytest.raises(InputError, match=r"lengths of some of its chunks are not known.*compute_chunk_sizes"):
        tessera.segment("threshold", array[array[:, 0] > 3])


@pytest.mark.parametrize("shape", [(12, 12), (5, 12, 12), (5, 12, 12, 3)])
def test_a_tensor_is_an_array(shape):
    array = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    np.testing.assert_array_equal(tessera.threshold(torch.from_numpy(array)), tessera.threshold(array))


def test_a_tensor_that_learns_says_what_to_do():
    with pytest.raises(InputError, match=r"detach\(\)"):
        tessera.threshold(torch.ones((5, 12, 12), requires_grad=True))


@pytest.mark.parametrize("points", [[["1", "2"]], ["here"], "here", [[object()]], [[1, 2], [3]], [[10**400, 1]]])
def test_points_that_are_no_numbers_are_refused(points):
    with pytest.raises(InputError, match="`seeds`"):
        tessera.segment("region_growing", IMAGE, seeds=points)


@pytest.mark.parametrize("planes", [5, {"T": "first"}, {3: 4}, [1]])
def test_planes_of_a_region_are_numbers(planes):
    with pytest.raises(InputError, match="`planes` of a region"):
        tessera.Region(planes)


@pytest.mark.parametrize("outline", ["abc", [["a", "b"]] * 3, [[np.nan, 1]] * 3, [[1, 2]] * 2, 5])
def test_an_outline_is_made_of_numbers(outline):
    with pytest.raises(InputError, match="outline"):
        tessera.segment("threshold", IMAGE, region=tessera.Region({}, (outline,)))


def test_a_vertex_far_away_lies_outside():
    outline = np.array([[0, 0], [0, 1e300], [1e300, 0]])
    result = tessera.segment("threshold", IMAGE, region=tessera.Region({}, (outline,)))
    assert result.labels.any()


class Unwilling:
    """Something that NumPy asks for an array, and gets an error."""

    def __array__(self, *_, **__):
        raise ValueError("not today")


@pytest.mark.parametrize("image", [[[1, 2], [3]], Unwilling()], ids=["rows that differ in length", "unwilling"])
def test_what_numpy_makes_no_array_of_is_refused(image):
    with pytest.raises(InputError, match=r"^threshold: `image` is not an array of numbers: "):
        tessera.segment("threshold", image)
    with pytest.raises(InputError, match=r"^`prediction` is not an array of numbers: "):
        tessera.evaluate(LABELS, image)


@pytest.mark.parametrize(
    "made",
    [lambda part: part * 1.5, lambda part: part[:3]],
    ids=["another type than it says", "another shape than it says"],
)
def test_a_dask_array_that_is_wrong_about_itself_is_refused_in_blocks(made):
    image = da.from_array(IMAGE, chunks=6).map_blocks(made, dtype=np.uint8, chunks=(6, 6))
    with pytest.raises(InputError, match=r"A part of the dask array should be uint8 .+, but it is "):
        tessera.segment("threshold", image, blocks=6)
