"""Panoptic quality of a small scene, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.labels import Segments
from napari_tessera.metrics.panoptic import panoptic_evaluation_of_many, segments_of_classes
from tests.helpers.panoptic_scene import HAND_WORKED, PREDICTION, TRUTH


def scene(labels, *classes, crowds=()):
    """Segments 1, 2, … of the classes named; those that begin with a capital are things."""
    n = len(classes)
    is_thing = np.array([name[0].isupper() for name in classes], bool)
    is_crowd = np.isin(np.arange(1, n + 1), crowds)
    return Segments(
        np.array(labels), np.arange(1, n + 1), np.array(classes, str), is_thing, is_crowd, np.full(n, np.nan)
    )


def quality(truth, prediction):
    return tessera.evaluate_panoptic(truth, prediction)["classes"]


@pytest.mark.parametrize("name", HAND_WORKED["classes"])
def test_drawn_scene_has_the_scores_worked_by_hand(name):
    scores = tessera.evaluate_panoptic(TRUTH, PREDICTION)["classes"][name]
    assert {key: scores[key] for key in ("tp", "fp", "fn")} == HAND_WORKED["counts"][name]
    for key, worked in HAND_WORKED["classes"][name].items():
        assert scores[key] == pytest.approx(float(worked), abs=1e-12)


@pytest.mark.parametrize("group", ["all", "things", "stuff"])
def test_drawn_scene_has_the_means_worked_by_hand(group):
    scores = tessera.evaluate_panoptic(TRUTH, PREDICTION)[group]
    for key, worked in HAND_WORKED[group].items():
        assert scores[key] == pytest.approx(float(worked), abs=1e-12)


def test_a_scene_against_itself_is_perfect():
    scores = tessera.evaluate_panoptic(TRUTH, TRUTH)
    assert all(scores[group]["pq"] == 1 for group in ("all", "things", "stuff"))


def test_iou_of_exactly_a_half_is_no_match():
    truth, found = scene([[1, 1, 0, 0]], "Cell"), scene([[1, 0, 0, 0]], "Cell")
    assert quality(truth, found)["Cell"]["tp"] == 0
    closer = scene([[1, 1, 1, 0]], "Cell")
    assert quality(closer, scene([[1, 1, 0, 0]], "Cell"))["Cell"]["pq"] == pytest.approx(2 / 3)


def test_void_of_the_truth_is_left_out_of_the_iou():
    # The segment found covers two pixels of the object and two of void: IoU 2/2, not 2/4.
    assert quality(scene([[1, 1, 0, 0]], "Cell"), scene([[1, 1, 1, 1]], "Cell"))["Cell"]["pq"] == 1


def test_segment_found_mostly_in_void_is_no_mistake():
    truth = scene([[0, 0, 0, 1, 2, 2]], "Cell", "ground")
    found = scene([[3, 3, 3, 3, 2, 2]], "Cell", "ground", "Dust")
    assert "Dust" not in quality(truth, found)
    half = scene([[0, 0, 1, 1, 2, 2]], "Cell", "ground")
    assert quality(half, found)["Dust"]["fp"] == 1


def test_crowd_need_not_be_found_and_what_lies_in_it_is_no_mistake():
    truth = scene([[1, 1, 1, 1, 2, 2]], "Cell", "ground", crowds=[1])
    assert quality(truth, scene([[3, 3, 4, 4, 2, 2]], "Dust", "ground", "Cell", "Cell")).keys() == {"ground"}
    assert quality(truth, scene([[1, 1, 1, 1, 2, 2]], "Dust", "ground"))["Dust"]["fp"] == 1


def test_segments_of_different_classes_never_match():
    scores = quality(scene([[1, 1]], "Cell"), scene([[1, 1]], "Dust"))
    assert (scores["Cell"]["fn"], scores["Dust"]["fp"]) == (1, 1)


def test_images_are_pooled_by_their_sums():
    one, none = scene([[1, 1, 2, 2]], "Cell", "ground"), scene([[2, 2, 2, 2]], "Cell", "ground")
    scores = run_job(panoptic_evaluation_of_many([(one, one), (one, none)]))
    assert scores["pooled"]["classes"]["Cell"]["rq"] == pytest.approx(float(Fraction(1, 1 + Fraction(1, 2))))
    assert [image["classes"]["Cell"]["pq"] for image in scores["images"]] == [1, 0]


def test_no_class_at_all_has_no_mean():
    empty = scene([[0, 0]])
    assert tessera.evaluate_panoptic(empty, empty)["all"] == {"pq": None, "sq": None, "rq": None, "n": 0}


def test_outcome_of_the_method_is_scored_as_it_is():
    cells, tissue = np.array([[1, 1, 0, 0]]), np.array([[0, 0, 0, 1]])
    segments, _, table = tessera.panoptic(np.zeros((1, 4)), cells, tissue, smallest_stuff=0)
    assert tessera.evaluate_panoptic((segments, table), (segments, table))["all"]["pq"] == 1


def test_objects_and_classes_make_segments():
    objects, classes = np.array([[1, 1, 2, 0, 0]]), np.array([[5, 5, 5, 6, 0]])
    segments = segments_of_classes(objects, classes, {5: "cell"})
    assert segments.labels.tolist() == [[1, 1, 2, 3, 0]]
    assert segments.classes.tolist() == ["cell", "cell", "class 6"]
    assert segments.is_thing.tolist() == [True, True, False]


def test_same_number_in_two_classes_makes_two_segments():
    assert segments_of_classes(np.array([[1, 1]]), np.array([[2, 3]])).labels.tolist() == [[1, 2]]


def test_class_of_objects_and_of_none_is_refused():
    with pytest.raises(InputError, match="class 5 has pixels inside and outside of objects"):
        segments_of_classes(np.array([[1, 0]]), np.array([[5, 5]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.pop("kind"), "has no column 'kind'"),
        (lambda table: table.update(kind=np.array(["thing", "stone"])), "the kind 'stone'"),
        (lambda table: table.update({name: column[:1] for name, column in table.items()}), "no row for label 2"),
    ],
)
def test_table_that_does_not_fit_is_refused(change, message):
    table = {"label": np.array([1, 2]), "class": np.array(["a", "b"]), "kind": np.array(["thing", "stuff"])}
    change(table)
    with pytest.raises(InputError, match=message):
        tessera.evaluate_panoptic((np.array([[1, 2]]), table), (np.array([[1, 2]]), table))


def test_kind_of_a_class_is_that_of_the_truth():
    found = scene([[1, 1]], "Cell")
    truth = replace(found, is_thing=np.array([False]))
    assert quality(truth, found)["Cell"]["kind"] == "stuff"
