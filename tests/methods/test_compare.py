import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.methods.compare import compare

small_labels = arrays.arrays(np.int32, (4, 5), elements=st.integers(0, 4))


def compared(truth, prediction, **parameters):
    return run_job(compare(np.array(truth), np.array(prediction), **parameters))


def test_a_matched_pair_is_found_and_drawn_with_the_pixels_of_both():
    labels, table = compared([[4, 4, 4, 0, 0]], [[0, 7, 7, 7, 0]])
    assert labels.tolist() == [[1, 1, 1, 1, 0]]
    assert (table["state"][0], table["iou"][0], table["truth"][0], table["prediction"][0]) == ("found", 0.5, 4, 7)


def test_a_true_object_without_match_is_missed():
    labels, table = compared([[0, 3, 3]], [[0, 0, 0]])
    assert labels.tolist() == [[0, 1, 1]]
    assert (table["state"][0], table["iou"][0], table["truth"][0], table["prediction"][0]) == ("missed", 0, 3, 0)


def test_a_predicted_object_without_match_is_invented():
    labels, table = compared([[0, 0, 0]], [[0, 8, 8]])
    assert labels.tolist() == [[0, 1, 1]]
    assert (table["state"][0], table["truth"][0], table["prediction"][0]) == ("invented", 0, 8)


def test_a_split_object_is_one_row_with_its_fragments():
    labels, table = compared([[1, 1, 1, 1, 1]], [[2, 2, 0, 3, 3]])
    assert labels.tolist() == [[1, 1, 1, 1, 1]]
    assert table["state"].tolist() == ["split"]
    assert (table["truth_objects"][0], table["predicted_objects"][0]) == (1, 2)


def test_a_merged_object_is_one_row_with_its_parts():
    labels, table = compared([[2, 2, 0, 3, 3]], [[1, 1, 1, 1, 1]])
    assert labels.tolist() == [[1, 1, 1, 1, 1]]
    assert table["state"].tolist() == ["merged"]
    assert (table["truth_objects"][0], table["predicted_objects"][0]) == (2, 1)


def test_an_object_predicted_too_small_is_missed_with_the_invented_one_drawn_on_it():
    labels, table = compared([[1, 1, 1, 1, 1]], [[0, 6, 6, 0, 0]])
    assert labels.tolist() == [[1, 2, 2, 1, 1]]
    assert table["state"].tolist() == ["missed", "invented"]
    assert table["iou"].tolist() == [0.4, 0.4]


def test_a_lower_iou_finds_more():
    _, table = compared([[1, 1, 1, 1, 1]], [[0, 6, 6, 0, 0]], iou=0.4)
    assert table["state"].tolist() == ["found"]


def test_two_empty_images_give_an_empty_table():
    labels, table = compared([[0, 0]], [[0, 0]])
    assert labels.tolist() == [[0, 0]]
    assert len(table["label"]) == 0


def test_images_of_different_shape_are_refused():
    with pytest.raises(InputError, match="shape"):
        compared([[1]], [[1, 2]])


@given(small_labels, small_labels, st.sampled_from([0.1, 0.3, 0.5, 0.8]))
def test_every_object_is_in_exactly_one_row(truth, prediction, iou):
    _, table = compared(truth, prediction, iou=iou)
    assert table["truth_objects"].sum() == len(np.unique(truth[truth > 0]))
    assert table["predicted_objects"].sum() == len(np.unique(prediction[prediction > 0]))


@given(small_labels, small_labels, st.sampled_from([0.3, 0.6, 0.9]))
def test_every_row_is_drawn(truth, prediction, iou):
    labels, table = compared(truth, prediction, iou=iou)
    assert np.unique(labels[labels > 0]).tolist() == table["label"].tolist()


def test_an_object_covered_by_smaller_mistakes_is_counted_in_the_row_of_one_of_them():
    # The true object 1 lies under 5 and 6, neither of which it holds or matches.
    _, table = compared([[1, 1, 2]], [[6, 5, 5]], iou=0.6)
    assert table["truth"].size == 3
    assert (table["truth_objects"].sum(), table["predicted_objects"].sum()) == (2, 2)


@given(small_labels, small_labels)
def test_every_labelled_pixel_is_drawn_and_no_other(truth, prediction):
    labels, _ = compared(truth, prediction)
    assert ((labels > 0) == ((truth > 0) | (prediction > 0))).all()


@given(small_labels)
def test_a_perfect_prediction_finds_every_object_as_it_is(labels):
    drawn, table = compared(labels, labels)
    assert (table["state"] == "found").all()
    assert (table["truth"][drawn[labels > 0] - 1] == labels[labels > 0]).all()
