"""Methods as plain functions: what they say of themselves, and how they refuse what is no call."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import dask
import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.spec import LabelsAndTable, LabelsClassesAndTable
from napari_tessera.engine.bind import bind
from tests.helpers.scenes import blobs, two_boxes

OTHERWISE = {"point"}
"""Methods whose name is that of another function: `tessera.point` gives the mask of one object."""
every_method = pytest.mark.parametrize(
    "method", [each for each in tessera.list_methods() if each.name not in OTHERWISE], ids=lambda method: method.name
)


@every_method
def test_signature_says_what_a_caller_gets(method):
    signature = inspect.signature(getattr(tessera, method.name))
    assert list(signature.parameters) == list(inspect.signature(method.function).parameters)
    kinds = dict.fromkeys(("region_growing", "mask_rcnn", "compare"), LabelsAndTable)
    kinds["panoptic"] = LabelsClassesAndTable
    assert signature.return_annotation is kinds.get(method.name, np.ndarray)


@every_method
def test_signature_can_be_read(method):
    shown = str(inspect.signature(getattr(tessera, method.name)))
    assert "Annotated" not in shown
    assert "Literal" not in shown
    assert len(shown) < 800


@every_method
def test_function_is_the_same_at_each_access_and_can_be_pickled(method):
    function = getattr(tessera, method.name)
    assert getattr(tessera, method.name) is function
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__module__ == "napari_tessera"


def test_function_can_be_delayed():
    delayed = dask.delayed(tessera.threshold)(blobs())
    np.testing.assert_array_equal(delayed.compute(scheduler="processes", num_workers=1), tessera.threshold(blobs()))


@pytest.mark.parametrize("function", [tessera.segment, tessera.segment_steps])
def test_options_of_segment_are_in_its_signature(function):
    options = set(inspect.signature(bind).parameters)
    assert options - set(inspect.signature(function).parameters) == set()


def test_more_than_labels_is_returned_by_name():
    found = tessera.compare(two_boxes(), two_boxes())
    np.testing.assert_array_equal(found.labels > 0, two_boxes() > 0)
    assert found.table["state"].tolist() == ["found", "found"]
    labels, table = found
    assert (labels, table) == (found.labels, found.table)


def test_panoptic_returns_labels_classes_and_table_by_name():
    found = tessera.panoptic(blobs(), things=two_boxes(), stuff=np.ones_like(two_boxes()), things_from="layer")
    assert found.labels.shape == found.classes.shape == blobs().shape
    assert len(found.table["label"]) == found.labels.max()


def test_progress_of_segment_goes_to_a_function():
    steps = []
    result = tessera.segment("threshold", blobs(), progress=steps.append)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    steps.clear()
    tessera.run(result.provenance, blobs(), progress=steps.append)
    assert steps[-1].fraction > 0.9


def test_exception_of_the_progress_function_cancels():
    def stop(step: tessera.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tessera.segment("threshold", blobs(), progress=stop)


def test_steps_of_segment_return_its_result():
    steps = tessera.segment_steps("threshold", blobs())
    while True:
        try:
            assert isinstance(next(steps), tessera.Progress)
        except StopIteration as end:
            np.testing.assert_array_equal(end.value.labels, tessera.segment("threshold", blobs()).labels)
            return


def test_steps_of_segment_are_refused_before_the_first():
    with pytest.raises(ParameterError, match="no parameter `lo`"):
        tessera.segment_steps("threshold", blobs(), lo=3)


@pytest.mark.parametrize("path", ["cells.tif", Path("cells.tif")])
@pytest.mark.parametrize("call", [tessera.threshold, lambda path: tessera.segment("threshold", path)])
def test_file_name_given_for_an_image_is_called_one(call, path):
    with pytest.raises(InputError, match=r"'cells\.tif', the name of a file.*io\.read_image\('cells\.tif'\)\.data"):
        call(path)


@pytest.mark.parametrize(
    ("call", "reader"),
    [
        (lambda: tessera.refine("a.tif"), "read_labels"),
        (lambda: tessera.evaluate("a.tif", "b.tif"), "read_labels"),
        (lambda: tessera.region_growing(blobs(), "a.csv"), "read_points"),
    ],
)
def test_file_name_given_for_labels_or_points_is_told_how_to_read_it(call, reader):
    with pytest.raises(InputError, match=rf"the name of a file.*io\.{reader}\("):
        call()


def test_unknown_parameter_is_refused_as_by_segment():
    said = []
    for call in (tessera.unet, lambda image, **options: tessera.segment("unet", image, **options)):
        with pytest.raises(
            ParameterError, match=r"there is no parameter `diametre`\. Did you mean `diameter`\?"
        ) as caught:
            call(blobs(), diametre=3)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_option_of_segment_points_to_segment():
    with pytest.raises(ParameterError, match=r'Give `axes` to tessera\.segment\("threshold"'):
        tessera.threshold(blobs(), axes="YX")
    with pytest.raises(ParameterError, match=r"no parameter `image`\. It has: [^.]*\.$"):
        tessera.refine(two_boxes(), image=blobs())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tessera.threshold(), "threshold: `image` is missing"),
        (lambda: tessera.region_growing(blobs()), r"`seeds` is missing\. Give points or a label image"),
        (lambda: tessera.threshold(blobs(), 3), r"too many positional arguments\. Only the arrays .*\(`image`\)"),
        (lambda: tessera.threshold(blobs(), image=blobs()), "multiple values for argument 'image'"),
    ],
)
def test_call_that_fits_no_signature_says_what_is_needed(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_result_is_shown_in_a_line():
    result = tessera.segment("threshold", blobs(), output="objects")
    image = "LabelImage(name='threshold', kind='objects', count=2, shape=(20, 24), dtype=int32)"
    assert repr(result) == f"Result(images=({image},), notes=())"


def test_result_shows_its_notes():
    assert "notes=('Nothing was found" in repr(tessera.segment("threshold", np.zeros((5, 5))))


def test_objects_that_were_not_measured_are_not_counted():
    result = tessera.segment("threshold", blobs(), output="objects", measure=False)
    assert "count" not in repr(result)
