"""The report of a training and its curves, and what settings leave to data, machine and clock."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.training.checkpoint import Checkpoint
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.dataset import Dataset, example_of, size_of
from napari_tessera.training.data.example import Frame, object_example
from napari_tessera.training.export import knows_bright_colours
from napari_tessera.training.report import (
    BOTH_COLOUR,
    FOUND_COLOUR,
    TRUTH_COLOUR,
    ReportImage,
    chart,
    logarithmic_ticks,
    picture_of,
    report_page,
)
from napari_tessera.training.resolve import balanced, resolve_config, with_steps_in
from napari_tessera.training.settings import checked_settings
from napari_tessera.training.unet_task import learn

SQUARE = np.zeros((9, 9), np.int32)
SQUARE[3:6, 3:6] = 1


def record(**more):
    return {
        "best_step": 4, "settings": {"steps": 5}, "scores": {"score": 0.5}, "validations": [{"step": 4, "score": 0.5}],
        "images": {"train": ["a"], "val": []}, "data_sha256": "f" * 64, "device": "cpu", "threads": 1, "seconds": 90,
        "versions": {}, **more,
    }  # fmt: skip


def dataset(**more):
    example = object_example(np.arange(81, dtype=np.uint8).reshape(9, 9), SQUARE + 1)
    return Dataset(**{"learn": [example], "check": [], "kind": "colours", "n_channels": 3, "n_classes": 2,
                      "digest": "", **more})  # fmt: skip


@pytest.mark.parametrize(
    ("colour", "background", "knows"),
    [((9, 9, 9), 0, False), ((0, 0, 9), 0, True), ((0, 0, 90), 90, False)],
    ids=["grey as RGB", "blue on black", "blue on white"],
)
def test_a_model_says_whether_it_knows_bright_objects_in_colour(colour, background, knows):
    image = np.full((9, 9, 3), background, np.uint8)
    image[SQUARE > 0] = colour
    data = dataset(learn=[object_example(image, SQUARE + 1)])
    assert knows_bright_colours(TrainingConfig(), data) == knows


def test_channels_of_their_own_are_known_as_they_are():
    assert knows_bright_colours(TrainingConfig(kind="channels"), dataset())
    assert not knows_bright_colours(TrainingConfig(), dataset())


def test_a_chart_is_an_svg_with_a_line_for_each_name():
    drawn = ElementTree.fromstring(chart("Loss <&>", {"one": [(1, 2.0), (2, 1.0)], "two": [(1, 1.0), (2, 3.0)]}))
    words = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert {"Loss <&>", "one", "two"} <= set(words)


@pytest.mark.parametrize("points", [[], [(1, float("nan"))], [(1, -1.0)]])
def test_a_chart_of_nothing_is_nothing(points):
    assert chart("Loss", {"loss": points}, is_logarithmic=True) == ""


def test_a_chart_of_one_value_can_be_drawn():
    assert "<circle" in chart("Score", {"score": [(5, 0.5)]})


def test_logarithmic_ticks_are_1_2_5_and_10():
    assert (10 ** np.array(logarithmic_ticks(0, 1))).round(6).tolist() == [1, 2, 5, 10]


def test_outlines_show_truth_and_prediction_and_where_both_agree():
    found = np.zeros_like(SQUARE)
    found[3:6, 3:7] = 1
    picture = picture_of(ReportImage("a", np.zeros((9, 9), np.uint8), SQUARE + 1, found))
    assert tuple(picture[4, 5]) == TRUTH_COLOUR
    assert tuple(picture[4, 6]) == FOUND_COLOUR
    assert tuple(picture[4, 3]) == BOTH_COLOUR


def test_of_a_volume_the_middle_plane_is_shown():
    volume = np.stack([SQUARE] * 3)
    assert picture_of(ReportImage("a", volume, volume + 1, volume)).shape == (9, 9, 3)


def test_the_page_escapes_names():
    header = {"name": "<b>", "title": "a & b", "training": record()}
    shown = ReportImage("<i>", np.zeros((9, 9), np.uint8), SQUARE + 1, SQUARE)
    page = report_page(header, [{"step": 1, "loss": 1.0}], [shown])
    assert "<b>" not in page
    assert "<i>" not in page
    assert "a &amp; b" in page


def test_classes_painted_rarely_count_more_and_those_never_painted_do_no_harm():
    assert balanced([np.array([5, 30, 10, 0])], 3) == (0.6667, 2.0, 1.0)


def test_what_is_left_open_depends_on_the_number_of_dimensions():
    plane, volume = (resolve_config(checked_settings({"ndim": ndim}), dataset(), "cpu") for ndim in (2, 3))
    assert (plane.patch_px, plane.depth_px, plane.diameter_px, len(plane.widths)) == (160, 0, 32, 5)
    assert (volume.patch_px, volume.depth_px, volume.diameter_px, len(volume.widths)) == (64, 64, 16, 4)


def test_a_rare_class_counts_ten_times_as_much_as_the_commonest_at_most():
    common, rare = balanced([np.array([0, 9900, 100])], 2)
    assert rare / common == pytest.approx(10, rel=1e-3)


def test_objects_need_no_balanced_weights():
    with pytest.raises(ParameterError, match="balanced already"):
        resolve_config(checked_settings({"class_weights": "balanced"}), dataset(), "cpu")


def test_minutes_become_steps_which_a_resumed_run_keeps(tmp_path):
    settings = checked_settings({"widths": "4,8", "patch": 32, "batch": 1, "precision": "full"})
    plan, data, saved = resolve_config(settings, dataset(), "cpu"), dataset(), tmp_path / "run.checkpoint"
    timed = run_job(with_steps_in(0.1, plan, data, "cpu", saved))
    assert timed.steps >= 10
    job = learn(data.learn, timed, Checkpoint(saved, timed.as_json()))
    next(job)
    job.close()
    assert run_job(with_steps_in(0.1, plan, data, "cpu", saved)).steps == timed.steps


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_of_nan_or_infinity_alone_is_refused_by_name(value):
    message = r"cell 7 has no image: 100 % of the pixels are not image \(NaN or infinite\)"
    with pytest.raises(InputError, match=message):
        example_of(Frame("cell 7", np.full((9, 9), value), SQUARE, "train"), "colours", checked_settings({}))


@pytest.mark.parametrize("value", [-1024.0, np.nan, np.inf])
def test_what_is_no_image_is_neither_measured_nor_learnt(value):
    image = np.random.default_rng(0).normal(500, 20, (64, 64)).astype(np.float32)
    truth = np.zeros((64, 64), np.int32)
    truth[20:30, :20] = 1
    beside = np.pad(image, ((0, 0), (2, 0)), constant_values=value), np.pad(truth, ((0, 0), (2, 0)), mode="edge")
    settings = checked_settings({})
    whole, nothing = example_of(Frame("cell", image, truth, "train"), "colours", settings)
    example, note = example_of(Frame("cell", *beside, "train"), "colours", settings)
    assert example.levels == whole.levels
    assert np.isfinite(example.image).all()
    assert example.image.min() > 0
    assert not example.labels[:, :2].any()
    np.testing.assert_array_equal(example.labels[:, 2:], whole.labels)
    assert (nothing, "cell: 3 % of the pixels are not image" in note) == ("", True)


def test_objects_of_a_validation_set_are_counted_once():
    one, other = (object_example(SQUARE.astype(np.uint8), SQUARE + 1, name=name) for name in "ab")
    assert size_of([one, one, other], "objects") == {"objects": 2}
    assert size_of([one], "classes") == {"pixels": 81}
    assert size_of([], "objects") == {}
