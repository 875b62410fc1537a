"""Advice: what is amiss with paint and losses, each once, and silence where nothing is."""

import numpy as np
import pytest

from napari_tessera.inference.normalization import Levels
from napari_tessera.training.data.advice import advice_on_course, advice_on_end, advice_on_paint
from napari_tessera.training.data.example import Example

NOISE = np.random.default_rng(0).integers(0, 100, (40, 40)).astype(np.uint8)
SOUND = {1: 1000, 2: 500, 3: 400}


def example(image=NOISE, diameter_px=None):
    labels = np.ones(image.shape[:2], np.int32)
    return Example(image, labels, Levels(0.0, 100.0), np.array([0, 1600]), np.zeros((1, 2)), diameter_px, name="cells")


def about(pixels=SOUND, images=(NOISE,), diameter_px=None, painted_px=None, reason=""):
    examples = [example(image, painted_px) for image in images]
    return [each.about for each in advice_on_paint(pixels, ("background", "membrane"), examples, diameter_px, reason)]


def course(*values, scores=()):
    losses = [{"step": step, "loss": value} for step, value in enumerate(values)]
    return [each.about for each in advice_on_course(losses, [{"score": score} for score in scores])]


def test_sound_paint_needs_no_advice():
    assert about() == []


def test_no_background_is_said():
    assert about({2: 500, 3: 400}) == ["no background"]


@pytest.mark.parametrize("pixels", [{1: 1000, 2: 99}, {1: 100_000, 2: 900}])
def test_a_class_with_hardly_any_paint_is_named(pixels):
    (advice,) = advice_on_paint(pixels, ("background", "membrane"), [], None, "")
    assert advice.text.startswith(f"Very few pixels of membrane are painted: {pixels[2]} of ")


def test_a_number_that_nothing_is_painted_with_is_named():
    (advice,) = advice_on_paint({1: 1000, 4: 500}, (), [example()], None, "")
    assert advice.text.startswith("Nothing is painted for class number 2, class number 3: ")


def test_many_rare_classes_are_said_in_one_sentence():
    (advice,) = advice_on_paint({1: 10_000} | dict.fromkeys(range(2, 33), 20), (), [], None, "")
    assert "class number 4 and 28 more are painted: 20, 20, 20 of 10620" in advice.text


def test_small_objects_are_no_rare_classes():
    assert about({1: 1000, 2: 20, 3: 20}, diameter_px=32, painted_px=20) == []


@pytest.mark.parametrize(("painted_px", "how"), [(3, "much smaller"), (300, "much larger")])
def test_objects_far_from_the_size_that_the_network_sees_are_said(painted_px, how):
    (advice,) = advice_on_paint(SOUND, (), [example(diameter_px=painted_px)], 32, "")
    assert (advice.about, how in advice.text) == ("size", True)


def test_nothing_to_validate_on_is_said_as_it_was():
    (advice,) = advice_on_paint(SOUND, (), [], None, "Too little.")
    assert (advice.about, advice.text) == ("nothing held back", "Too little.")


def test_a_falling_loss_needs_no_advice():
    assert course(*np.linspace(2, 0.5, 40), scores=(0.3, 0.5, 0.6)) == []


def test_a_loss_that_stays_is_said():
    assert course(*np.full(40, 1.3)) == ["loss not falling"]


def test_a_loss_that_stays_is_no_trouble_where_the_network_knows_what_is_painted():
    assert course(*np.full(40, 1.3), scores=(0.8, 0.81, 0.8)) == []


def test_a_loss_that_grows_is_said():
    assert course(*np.linspace(1, 0.5, 30), *np.linspace(2, 9, 20)) == ["loss exploding"]


def test_a_score_that_falls_with_the_loss_is_said():
    assert course(*np.linspace(2, 0.1, 40), scores=(0.5, 0.8, 0.7, 0.6)) == ["learnt by heart"]


def test_a_few_steps_are_not_judged():
    assert course(1, 2, 3) == []


def in_the_end(*scores):
    return [each.about for each in advice_on_end([], [{"step": 1, "score": score} for score in scores])]


def test_a_training_that_found_nothing_to_its_end_is_said():
    assert in_the_end(0.0, 0.0) == ["nothing found"]


@pytest.mark.parametrize("scores", [(), (0.0, 0.01), (0.01, 0.0)])
def test_nothing_is_said_where_something_was_found_or_nothing_held_back(scores):
    assert in_the_end(*scores) == []


def test_nothing_found_is_no_trouble_as_long_as_it_goes_on():
    assert course(*np.linspace(2, 0.5, 40), scores=(0, 0, 0)) == []
