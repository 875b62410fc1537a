import json

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.overlaps import find_overlaps
from napari_tessera.metrics.matching import match
from napari_tessera.metrics.segmentation import evaluate, evaluate_many

small_labels = arrays.arrays(np.int32, (4, 5), elements=st.integers(0, 4))

# Object 1 is found with IoU 4/6, object 2 is missed, and 9 is invented.
TRUTH = np.array(
    [
        [1, 1, 0, 0, 2, 2],
        [1, 1, 0, 0, 2, 2],
        [0, 0, 0, 0, 0, 0],
    ]
)
PREDICTION = np.array(
    [
        [5, 5, 5, 0, 0, 0],
        [5, 5, 5, 0, 0, 0],
        [0, 0, 0, 0, 9, 9],
    ]
)


def test_dice_is_twice_the_shared_pixels_over_both():
    assert evaluate(TRUTH, PREDICTION)["dice"] == 2 * 4 / (8 + 8)


def test_iou_is_the_shared_pixels_over_the_union():
    assert evaluate(TRUTH, PREDICTION)["iou"] == 4 / 12


def test_ap_is_tp_over_tp_fp_fn():
    scores = evaluate(TRUTH, PREDICTION)
    assert (scores["tp"]["0.50"], scores["fp"]["0.50"], scores["fn"]["0.50"]) == (1, 1, 1)
    assert scores["ap"]["0.50"] == 1 / 3


def test_a_pair_below_the_threshold_is_one_miss_and_one_invention():
    scores = evaluate(TRUTH, PREDICTION)
    assert (scores["tp"]["0.70"], scores["fp"]["0.70"], scores["fn"]["0.70"]) == (0, 2, 2)


def test_map_is_the_mean_over_the_thresholds():
    # IoU 4/6 passes 0.50, 0.55, 0.60 and 0.65 of the ten thresholds.
    assert evaluate(TRUTH, PREDICTION)["map"] == pytest.approx(4 / 10 * 1 / 3)


def test_pq_is_the_iou_of_the_matches_over_tp_and_half_of_the_mistakes():
    scores = evaluate(TRUTH, PREDICTION)
    assert scores["pq"] == pytest.approx((4 / 6) / (1 + 0.5 + 0.5))
    assert scores["sq"] == pytest.approx(4 / 6)
    assert scores["rq"] == scores["f1"] == 0.5


def test_precision_and_recall_count_predicted_and_true_objects():
    scores = evaluate(TRUTH, np.where(PREDICTION == 5, 5, 0))
    assert (scores["precision"], scores["recall"]) == (1.0, 0.5)


def test_an_iou_of_exactly_the_threshold_matches():
    assert evaluate(np.array([[1, 1]]), np.array([[1, 0]]))["tp"] == {
        "0.50": 1,
        **{f"{0.05 * step:.2f}": 0 for step in range(11, 20)},
    }


def test_an_object_halved_exactly_matches_one_half_only():
    scores = evaluate(np.array([[1, 1]]), np.array([[1, 2]]))
    assert (scores["tp"]["0.50"], scores["fp"]["0.50"], scores["fn"]["0.50"]) == (1, 1, 0)


def test_optimal_matching_beats_taking_the_best_pair_first():
    # IoU of (1, 1) is 3/8, of (1, 2) 3/9 and of (2, 1) 2/7; taking (1, 1) first leaves nothing for the others.
    truth = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0]])
    prediction = np.array([[2, 2, 2, 1, 1, 1, 1, 1, 0, 0, 2, 2, 2]])
    scores = evaluate(truth, prediction, thresholds=[0.25])
    assert scores["tp"] == {"0.25": 2}


def test_a_split_is_a_true_object_that_holds_two_predicted_ones():
    truth, prediction = np.array([[1, 1, 1, 1, 1, 0]]), np.array([[2, 2, 2, 3, 3, 3]])
    scores = evaluate(truth, prediction)
    assert (scores["splits"], scores["merges"]) == (1, 0)


def test_a_neighbour_that_reaches_over_the_border_is_no_split():
    truth, prediction = np.array([[1, 1, 1, 1, 2, 2]]), np.array([[3, 3, 3, 4, 4, 4]])
    scores = evaluate(truth, prediction)
    assert (scores["splits"], scores["merges"]) == (0, 0)


def test_two_empty_images_agree_fully():
    empty = np.zeros((3, 3), int)
    scores = evaluate(empty, empty)
    for name in ("dice", "iou", "map", "precision", "recall", "f1", "pq", "sq", "rq"):
        assert scores[name] == 1.0


def test_objects_where_there_should_be_none_score_zero():
    scores = evaluate(np.zeros((2, 2), int), np.ones((2, 2), int))
    for name in ("dice", "iou", "map", "precision", "recall", "f1", "pq", "sq", "rq"):
        assert scores[name] == 0.0


def test_scores_are_plain_json():
    scores = evaluate(TRUTH, PREDICTION)
    assert json.loads(json.dumps(scores)) == scores


def test_each_class_has_its_own_dice_and_iou():
    scores = evaluate(np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 0]]), task="classes")
    assert scores["classes"] == {
        "1": {"dice": 2 * 1 / 3, "iou": 1 / 2},
        "2": {"dice": 2 * 1 / 3, "iou": 1 / 2},
    }
    assert scores["mean_iou"] == 0.5
    assert scores["accuracy"] == 3 / 4


def test_a_class_that_only_one_image_has_scores_zero():
    scores = evaluate(np.array([[1, 1]]), np.array([[1, 3]]), task="classes")
    assert scores["classes"]["3"] == {"dice": 0.0, "iou": 0.0}


def test_pooling_adds_tp_fp_and_fn_over_the_images():
    one, four = np.array([[1, 0, 0, 0]]), np.array([[1, 2, 3, 4]])
    scores = evaluate_many([(one, one), (four, np.zeros_like(four))])
    assert scores["pooled"]["ap"]["0.50"] == 1 / 5
    assert scores["mean"]["ap"]["0.50"] == 1 / 2
    assert [image["ap"]["0.50"] for image in scores["images"]] == [1.0, 0.0]


def test_pooling_classes_adds_their_pixels():
    first = np.array([[1, 1, 0, 0]]), np.array([[1, 1, 0, 0]])
    second = np.array([[1, 1, 2, 2]]), np.array([[0, 0, 2, 2]])
    pooled = evaluate_many([first, second], task="classes")["pooled"]
    assert pooled["classes"] == {"1": {"dice": 2 * 2 / 6, "iou": 1 / 2}, "2": {"dice": 1.0, "iou": 1.0}}


def test_pairs_may_be_read_one_by_one():
    assert evaluate_many((TRUTH, TRUTH) for _ in range(2))["pooled"]["truth_objects"] == 4


def test_large_label_numbers_are_no_trouble():
    truth = np.array([[2**62, 2**62, 0]])
    assert evaluate(truth, truth.astype(np.uint64))["ap"]["0.95"] == 1.0


def test_a_mask_of_booleans_is_one_object():
    assert evaluate(TRUTH > 0, PREDICTION > 0)["truth_objects"] == 1


def test_images_of_different_shape_are_refused_with_both_shapes():
    with pytest.raises(InputError, match=r"\(3, 6\).*\(6, 3\)"):
        evaluate(TRUTH, PREDICTION.T)


def test_fractions_are_no_labels():
    with pytest.raises(InputError, match=r"`prediction` holds 2\.5, but labels are whole numbers"):
        evaluate(TRUTH, PREDICTION * 0.5)


def test_negative_numbers_are_no_labels():
    with pytest.raises(InputError, match="-1"):
        evaluate(TRUTH, PREDICTION - 1)


def test_a_threshold_of_zero_is_refused():
    with pytest.raises(ParameterError, match="thresholds"):
        evaluate(TRUTH, PREDICTION, thresholds=[0.0, 0.5])


@given(small_labels)
def test_a_perfect_prediction_scores_one(labels):
    scores = evaluate(labels, labels)
    assert (scores["dice"], scores["map"], scores["pq"]) == (1.0, 1.0, 1.0)
    assert (scores["splits"], scores["merges"]) == (0, 0)


@given(small_labels, small_labels)
def test_swapping_truth_and_prediction_swaps_precision_with_recall(truth, prediction):
    there, back = evaluate(truth, prediction), evaluate(prediction, truth)
    assert there["map"] == back["map"]
    assert (there["precision"], there["splits"]) == (back["recall"], back["merges"])


@given(small_labels, small_labels, st.permutations([3, 14, 15, 92]))
def test_the_numbers_of_the_objects_do_not_matter(truth, prediction, numbers):
    renamed = np.array([0, *numbers])[prediction]
    before, after = evaluate(truth, prediction), evaluate(truth, renamed)
    assert after["ap"] == before["ap"]
    assert after["pq"] == pytest.approx(before["pq"])
    assert (after["splits"], after["merges"]) == (before["splits"], before["merges"])


@given(small_labels, small_labels, st.sampled_from([0.1, 0.2, 0.34, 0.5]))
def test_matching_agrees_with_the_assignment_problem_on_the_full_table(truth, prediction, iou):
    overlaps = run_job(find_overlaps(truth, prediction))
    table = np.zeros((len(overlaps.truth), len(overlaps.prediction)))
    table[overlaps.rows, overlaps.columns] = overlaps.iou
    gain = np.where(table >= iou, 100 + table, 0)
    best = gain[linear_sum_assignment(gain, maximize=True)].sum()
    found = match(overlaps, iou)
    assert (100 + overlaps.iou[found]).sum() == pytest.approx(best)
