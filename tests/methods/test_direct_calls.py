"""Methods as plain functions: what they say of themselves, and how they refuse what is no call."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ParameterError
from tests.helpers.scenes import blobs, two_boxes


@pytest.mark.parametrize("method", tessera.list_methods(), ids=lambda method: method.name)
def test_signature_says_what_a_caller_gets(method):
    signature = inspect.signature(getattr(tessera, method.name))
    assert list(signature.parameters) == list(inspect.signature(method.function).parameters)
    returns_more = method.name in ("region_growing", "mask_rcnn", "panoptic", "compare")
    assert signature.return_annotation is (tuple if returns_more else np.ndarray)


def test_a_tuple_is_returned_where_the_signature_says_so():
    assert isinstance(tessera.compare(two_boxes(), two_boxes()), tuple)
    assert isinstance(tessera.threshold(blobs()), np.ndarray)


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
        with pytest.raises(ParameterError, match=r"there is no parameter `diametre`\. It has: model, ") as caught:
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
