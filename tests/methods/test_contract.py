"""What holds for every method, whichever it is."""

from __future__ import annotations

import inspect
import json

import dask.array as da
import numpy as np
import pytest
import zarr

import napari_tessera as tessera
from napari_tessera.core import labels as label_arrays
from napari_tessera.core.errors import InputError, ParameterError, TesseraError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.method import Method, Parameter
from napari_tessera.methods.registry import METHODS
from tests.helpers.scenes import blobs, main_input, needed_inputs, two_boxes

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
on_images = pytest.mark.parametrize(
    "method", [method for method in METHODS if method.takes_image], ids=lambda method: method.name
)
in_2d_and_3d = pytest.mark.parametrize("ndim", [2, 3])


def run(method: Method, ndim: int = 2, /, **options):
    main = options.pop("main", None)
    return tessera.segment(
        method.name, main_input(method, ndim) if main is None else main, **needed_inputs(method, ndim), **options
    )


@every_method
@in_2d_and_3d
def test_labels_have_the_shape_of_the_image_and_count_from_one(method, ndim):
    labels = run(method, ndim).labels
    assert labels.shape == main_input(method, ndim).shape
    assert labels.dtype in (np.int32, np.int64)
    assert set(np.unique(labels)) - {0} == set(range(1, labels.max() + 1))
    assert labels.max() >= 1


@every_method
@in_2d_and_3d
def test_objects_are_numbered_in_raster_order(method, ndim):
    result = run(method, ndim)
    if result.images[0].kind == "objects":
        np.testing.assert_array_equal(result.labels, label_arrays.renumber(result.labels.copy()))


@every_method
@in_2d_and_3d
def test_inputs_are_not_changed(method, ndim):
    main, others = main_input(method, ndim), needed_inputs(method, ndim)
    before = main.copy(), {name: array.copy() for name, array in others.items()}
    tessera.segment(method.name, main, **others)
    np.testing.assert_array_equal(main, before[0])
    for name, array in others.items():
        np.testing.assert_array_equal(array, before[1][name])


@every_method
def test_same_seed_gives_same_labels(method):
    np.testing.assert_array_equal(run(method).labels, run(method).labels)


@every_method
@in_2d_and_3d
def test_record_replays_the_same_labels_after_a_trip_through_json(method, ndim):
    result = run(method, ndim, spacing=0.5)
    record = json.loads(json.dumps(result.provenance))
    np.testing.assert_array_equal(tessera.run(record, main_input(method, ndim)).labels, result.labels)


@every_method
def test_function_of_its_own_name_gives_the_labels_of_segment(method):
    if method.name == "point":  # here the function gives one object
        mask = tessera.point(main_input(method), [[10, 15]])
        assert mask.dtype == bool
        return
    found = getattr(tessera, method.name)(main_input(method), **needed_inputs(method))
    np.testing.assert_array_equal(found[0] if isinstance(found, tuple) else found, run(method).labels)


@every_method
def test_table_has_one_row_for_each_label(method):
    result = run(method)
    np.testing.assert_array_equal(result.table["label"], np.arange(1, result.labels.max() + 1))
    assert {len(column) for column in result.table.values()} == {len(result.table["label"])}


@every_method
def test_time_series_is_segmented_frame_by_frame(method):
    frame = run(method).labels
    main = np.stack([main_input(method)] * 2)
    others = {
        name: np.stack([array] * 2) if array.ndim == 2 and array.shape == frame.shape else _in_both_frames(array)
        for name, array in needed_inputs(method).items()
    }
    result = tessera.segment(method.name, main, axes="TYX", **others)
    np.testing.assert_array_equal(result.labels[0], frame)
    np.testing.assert_array_equal(result.labels[1] > 0, frame > 0)
    assert set(result.table["t"].tolist()) == {0, 1}


def _in_both_frames(points: np.ndarray) -> np.ndarray:
    return np.concatenate([np.insert(points, 0, time, axis=1) for time in (0, 1)])


@on_images
def test_channels_are_allowed(method):
    image = np.stack([blobs(), blobs() // 2, blobs() // 3], axis=-1)
    labels = tessera.segment(method.name, image, axes="YXC", **needed_inputs(method)).labels
    assert labels.shape == blobs().shape
    assert labels.max() >= 1


@on_images
def test_order_of_axes_does_not_matter(method):
    image = np.stack([blobs(), blobs() // 2], axis=0)
    first = tessera.segment(method.name, image, axes="CYX", **needed_inputs(method)).labels
    last = tessera.segment(method.name, np.moveaxis(image, 0, -1), axes="YXC", **needed_inputs(method)).labels
    np.testing.assert_array_equal(first, last)


DTYPES = [bool, "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">f4", ">i4"]


@on_images
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_number_type_works(method, dtype):
    image = blobs() // 2 if np.dtype(dtype) == np.int8 else blobs()
    image = image > 60 if np.dtype(dtype) == bool else image.astype(dtype)
    labels = tessera.segment(method.name, image, **needed_inputs(method)).labels
    assert labels[5, 5] != labels[0, 0]


@every_method
def test_dask_zarr_and_strided_arrays_give_the_same_labels(method):
    main, plain = main_input(method), run(method).labels
    stored = zarr.array(main, chunks=(7, 9))
    doubled = np.repeat(np.repeat(main, 2, axis=0), 2, axis=1)
    for same in (da.from_array(main, chunks=(7, 9)), stored, doubled[::2, ::2], np.asfortranarray(main)):
        np.testing.assert_array_equal(run(method, main=same).labels, plain)


@on_images
@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinite_pixel_is_no_image_like_nan(method, bad):
    image = blobs(dtype=np.float32)
    image[2, 2] = bad
    result = run(method, main=image)
    image[2, 2] = np.nan
    np.testing.assert_array_equal(result.labels, run(method, main=image).labels)
    assert any("NaN or infinite" in note for note in result.notes)


@on_images
def test_nan_and_masked_pixels_have_the_label_0_and_are_said(method):
    image = blobs(dtype=np.float32)
    masked = np.zeros(image.shape, bool)
    masked[:, :3] = True
    image[masked] = np.nan
    for given in (image, np.ma.masked_array(np.nan_to_num(image, nan=1e6), masked)):
        result = run(method, main=given)
        assert not result.labels[masked].any()
        assert "not image" in result.notes[0]


@on_images
def test_constant_image_works(method):
    labels = run(method, main=np.full_like(blobs(), 7)).labels
    assert labels.shape == blobs().shape


@every_method
def test_empty_image_is_refused(method):
    with pytest.raises(InputError, match="empty"):
        tessera.segment(method.name, main_input(method)[:0], **needed_inputs(method))


@every_method
def test_single_pixel_works(method):
    main = main_input(method)[5:6, 5:6]
    others = {
        name: array[5:6, 5:6] if array.shape == main_input(method).shape else np.zeros((1, 2))
        for name, array in needed_inputs(method).items()
    }
    assert tessera.segment(method.name, main, **others).labels.shape == (1, 1)


@every_method
@pytest.mark.parametrize("main", [np.zeros(5, np.uint8), np.zeros((4, 4), complex), np.array([["a", "b"]]), None])
def test_what_is_no_image_is_refused_kindly(method, main):
    with pytest.raises(TesseraError, match=method.name):
        tessera.segment(method.name, main, axes="YX")


@every_method
def test_other_inputs_of_the_wrong_shape_are_refused_by_name(method):
    for entry in method.inputs[1:]:
        values = {**method.declaration.defaults}
        values.update({rule.parameter: rule.values[0] for rule in entry.shown_if})
        others = {**needed_inputs(method), entry.name: two_boxes()[:-1].astype(np.int32)}
        with pytest.raises(InputError, match=entry.name):
            tessera.segment(method.name, main_input(method), **others, **values)


def bad_values(parameter: Parameter) -> list[object]:
    if parameter.choices:
        return ["no such choice", 3.5]
    if parameter.kind is bool:
        return ["yes", 2]
    if parameter.kind is str and parameter.model is None:  # any text is a name
        return [3.5, True]
    bad: list[object] = ["many", float("nan"), True]
    allowed = parameter.range
    bad += [allowed.low - 1] if np.isfinite(allowed.low) else []
    bad += [allowed.high + 1] if np.isfinite(allowed.high) else []
    return bad + ([0.5 + max(allowed.low, 0)] if parameter.kind is int else [])


@pytest.mark.parametrize(
    ("method", "parameter"),
    [(method, parameter) for method in METHODS for parameter in method.parameters],
    ids=lambda item: item.name,
)
def test_bad_value_raises_naming_the_parameter(method, parameter):
    for value in bad_values(parameter):
        with pytest.raises(ParameterError, match=f"`{parameter.name}`") as raised:
            run(method, **{parameter.name: value})
        assert raised.value.parameter == parameter.name


@every_method
def test_unknown_parameter_is_refused_by_name(method):
    with pytest.raises(ParameterError, match="`sharpness`"):
        run(method, sharpness=3)


@every_method
def test_docstring_describes_every_input_and_parameter(method):
    assert method.summary.endswith(".")
    undescribed = [item.name for item in (*method.inputs, *method.parameters) if not item.help]
    assert undescribed == []


@every_method
def test_parameters_do_not_take_the_names_of_options_of_segment(method):
    from napari_tessera.engine import api

    options = {
        name for name, each in inspect.signature(api.bind).parameters.items() if each.kind != each.POSITIONAL_ONLY
    }
    assert not options & {item.name for item in (*method.inputs[1:], *method.parameters)}


@every_method
def test_jobs_report_progress_that_does_not_run_backwards(method):
    from napari_tessera.engine import api

    request = api.bind(method.name, main_input(method), **needed_inputs(method))
    done = []
    result = run_job(api.job(request), lambda step: done.append(step.fraction))
    assert done == sorted(done)
    assert len(done) >= 3
    assert result.labels.any()
