"""Objects judged by what is said of their pixels."""

from dataclasses import replace

import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.core.record_schema import check_fields
from napari_tessera.inference.decode_unet import UNetOptions, make_output
from napari_tessera.inference.object_features import (
    FEATURES,
    PixelScores,
    Scoring,
    knows_its_objects,
    likeness_of,
    measured,
    without_unlikely,
)
from napari_tessera.inference.pixel_grid import Grid
from napari_tessera.models.header import N_FEATURES, MaskRCNNScoring, UNetScoring

LABELS = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 2]], np.int32)
SAID = PixelScores(
    object=np.where(LABELS == 1, 0.9, 0.4).astype(np.float32),
    border=np.zeros(LABELS.shape, np.float32),
    distance=np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0.5]], np.float32),
    size=np.array([[0, 0, 0, 0], [0, 0, 0, 0], [3, 0, 0, 1]], np.float32),
)


def said_of_objects():
    return [
        dict(zip(FEATURES, each, strict=True))
        for each in run_job(measured(LABELS, SAID, usual_px=9, factor=2)).tolist()
    ]


def scoring_on(feature, weight, constant, **others):
    """Judge by one feature alone."""
    count = len(FEATURES)
    weights = np.zeros(1 + count + count * (count + 1) // 2)
    weights[0], weights[1 + FEATURES.index(feature)] = constant, weight
    said = {"least": 0.5, "least_of_small": 0.5, "small_share": 0.5}
    said |= {"centre": [0.0] * count, "spread": [1.0] * count, "weights": weights.tolist()}
    return {"scoring": said | others}


def kept(header):
    return run_job(without_unlikely(LABELS.copy(), SAID, Scoring.of(header, usual_px=9, factor=2)))


def test_area_is_compared_with_the_usual_one():
    large, small = said_of_objects()
    assert large["log area"] == pytest.approx(0)
    assert small["log area"] == pytest.approx(-np.log(9))


def test_means_and_highest_values_are_of_the_object_s_own_pixels():
    large, small = said_of_objects()
    assert (large["object"], large["distance"], large["most distance"]) == pytest.approx((0.9, 1 / 9, 1))
    assert (small["object"], small["distance"], small["most distance"]) == pytest.approx((0.4, 0.5, 0.5))


def test_an_outline_is_where_other_labels_begin_and_not_where_the_image_ends():
    assert said_of_objects()[0]["outline"] == pytest.approx(3 / 3)  # the right column, over the root of 9


def test_a_disc_is_as_large_as_the_ellipse_with_its_moments_and_a_bay_makes_it_smaller():
    y, x = np.mgrid[:41, :61]
    disc = ((y - 20) ** 2 + ((x - 30) / 1.5) ** 2 < 19**2).astype(np.int32)
    nothing = np.zeros(disc.shape, np.float32)
    said = PixelScores(nothing, nothing, nothing, nothing)

    def shape(labels):
        [features] = run_job(measured(labels, said, 1, 1))
        return features[[FEATURES.index(name) for name in ("bulges", "elongation", "edge")]]

    assert shape(disc) == pytest.approx((0, np.log(1.5), 0), abs=0.02)
    assert shape(disc * ((y > 12) | (abs(x - 30) > 8)))[0] < -0.05
    assert shape(disc[:20])[2] == pytest.approx(57 / np.sqrt(disc[:20].sum()))  # its lowest row is the edge


def test_touching_is_the_share_of_the_outline_towards_other_objects():
    large, small = said_of_objects()
    assert large["touching"] == pytest.approx(1 / 3)
    assert small["touching"] == pytest.approx(1 / 2)


def test_the_error_of_size_is_how_far_the_area_is_from_what_the_pixels_speak_of():
    large, small = said_of_objects()
    assert large["size"] == pytest.approx(1 / 3)
    assert large["error of size"] == pytest.approx(-1 / 3)
    assert small["error of size"] == pytest.approx(-np.log(9) / 2 - 1)
    assert large["spread of size"] == pytest.approx(np.std([3, *[0] * 8]))


def test_what_is_unlikely_is_dropped_and_the_others_are_numbered_anew():
    assert np.unique(kept(scoring_on("object", 10, -6))).tolist() == [0, 1]
    only_small = kept(scoring_on("object", -10, 6))
    assert (only_small == np.where(LABELS == 2, 1, 0)).all()


def test_small_objects_must_be_likelier_than_large_ones():
    alike = {"least": 0.2, "least_of_small": 0.6, "small_share": 0.5}  # and all have a probability of a half
    assert (kept(scoring_on("object", 0, 0, **alike)) == np.where(LABELS == 1, 1, 0)).all()
    assert (kept(scoring_on("object", 0, 0, **alike | {"small_share": 0.1})) == LABELS).all()


def test_what_is_likely_stays_as_it_is():
    assert (kept(scoring_on("object", 0, 1)) == LABELS).all()


def test_nothing_found_is_nothing_judged():
    nothing = np.zeros((4, 4), np.float32)
    labels = nothing.astype(np.int32)
    scoring = Scoring.of(scoring_on("object", 1, 0), 9, 1)
    assert not run_job(without_unlikely(labels, PixelScores(nothing, nothing, nothing, nothing), scoring)).any()


def test_a_feature_far_from_all_that_was_learnt_counts_no_more_than_one_at_its_edge():
    scoring = Scoring.of(scoring_on("log area", 1, 0), 9, 1)
    far, farther = scoring.regression.probabilities(np.array([[4.0] + [0] * 15, [400.0] + [0] * 15]))
    assert far == farther


def output(header, **wanted):
    """What a model with this header makes of a disc of 9 pixels and one dim pixel."""
    classes = np.stack([1 - SAID.object * (LABELS > 0) * 2, SAID.object * (LABELS > 0) * 2, SAID.border])
    scores = {"classes": np.clip(classes, 0, 1), "distance": SAID.distance[None], "size": SAID.size[None]}
    whole = {"task": "objects", "diameter_px": 3.4, "decoding": {"smoothing_px": 0.0}} | header
    return run_job(make_output(scores, whole, UNetOptions(**wanted), Grid.over(LABELS.shape, LABELS.shape)))


def test_a_model_that_judges_objects_keeps_what_it_finds_likely():
    assert output(scoring_on("log scale", 0, 1)).max() >= 1
    assert output(scoring_on("log scale", 0, -1)).max() == 0


def test_who_gives_the_smallest_size_gets_all_objects_of_that_size():
    assert output(scoring_on("log scale", 0, -1), min_size=1).max() >= 1


def test_a_header_says_as_many_numbers_as_there_are_features():
    assert len(FEATURES) == N_FEATURES["unet"]
    check_fields(UNetScoring, scoring_on("object", 1, 0)["scoring"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"least": "low"}, {"small_share": 0}, {"least_of_small": None},
        {"centre": [0.0]}, {"spread": [0.0] * 16}, {"spread": [True] * 16},
        {"weights": [1e300] * 153}, {"weights": None},
    ],
)  # fmt: skip
def test_other_headers_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .*but it should"):
        check_fields(UNetScoring, scoring_on("object", 1, 0, **wrong)["scoring"])


def test_the_numbers_of_one_kind_of_network_do_not_suit_the_other():
    with pytest.raises(ValueError, match="lowest is missing"):
        check_fields(MaskRCNNScoring, scoring_on("object", 1, 0)["scoring"])


def likeness(features, sizes, header=None):
    return likeness_of(
        np.asarray(features, float), np.asarray(sizes), Scoring.of(header or scoring_on("object", 0, 1), 9, 1)
    )


def test_objects_like_those_of_the_training_are_not_foreign():
    features = np.random.default_rng(0).normal(0, 0.5, (40, 16))
    assert not likeness(features, np.ones(40)).is_foreign


def test_unlikely_objects_are_foreign_by_their_pixels():
    header = scoring_on("object", 1, 0)  # as likely as not at 0, hardly at all at -3
    features = np.zeros((3, 16))
    features[1:, FEATURES.index("object")] = -3
    assert likeness(features, [100, 1, 1], scoring_on("object", 4, 3)).probability > 0.9
    assert likeness(features, [1, 100, 100], header).probability < 0.1
    assert likeness(features, [1, 100, 100], header).is_foreign


def test_objects_far_from_the_training_are_foreign_but_not_for_their_magnification():
    likely, features = scoring_on("object", 0, 4), np.zeros((10, 16))
    features[:, FEATURES.index("log scale")] = 8
    assert not likeness(features, np.ones(10), likely).is_foreign
    features[:, FEATURES.index("elongation")] = 6
    assert likeness(features, np.ones(10), likely).is_foreign


def test_a_few_objects_of_a_size_unlike_the_training_are_foreign():
    likely, features = scoring_on("object", 0, 4), np.zeros((2, 16))
    assert not likeness(features, np.ones(2), likely).is_foreign
    features[:, FEATURES.index("log scale")] = -8
    assert likeness(features, np.ones(2), likely).is_foreign


def test_many_objects_that_are_all_the_same_are_foreign():
    assert likeness(np.zeros((50, 16)), np.ones(50)).is_foreign
    assert not likeness(np.zeros((5, 16)), np.ones(5)).is_foreign


def test_a_drawing_is_foreign():
    like = likeness(np.random.default_rng(0).normal(0, 0.5, (40, 16)), np.ones(40))
    assert replace(like, is_drawing=True).is_foreign


def test_nothing_found_is_not_foreign():
    assert not likeness(np.zeros((0, 16)), []).is_foreign


def test_limits_of_likeness_are_those_of_the_model():
    features = run_job(measured(LABELS, SAID, usual_px=9, factor=2))
    usual, own = (
        Scoring.of(scoring_on("object", 0, 0.0, **limits), usual_px=9, factor=2)  # all have a probability of one half
        for limits in ({}, {"least_probability": 0.4, "farthest_median": 50.0})
    )
    assert likeness_of(features, np.array([9, 1]), usual).is_foreign
    assert not likeness_of(features, np.array([9, 1]), own).is_foreign


def test_scoring_taken_over_from_another_model_is_not_its_own():
    header = scoring_on("object", 1, 0.0)
    tuned = {"training": {"settings": {"start": header}}}
    assert knows_its_objects(header)
    assert not knows_its_objects(header | tuned)
    assert knows_its_objects(scoring_on("object", 2, 0.0) | tuned)
