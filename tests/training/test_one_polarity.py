"""Classes: all images are turned, or none, whichever classes are brighter in each."""

from dataclasses import replace

import numpy as np

from napari_tessera.inference.normalization import measure_levels, normalisation, with_polarity
from napari_tessera.training.data.dataset import with_one_polarity
from napari_tessera.training.data.example import class_example


def example(inverted):
    found = class_example(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8), np.ones((40, 40), np.uint8))
    return replace(found, levels=replace(found.levels, inverted=inverted))


def turned(*learnt):
    """Return how the images of a training and one for validation are turned, which by itself would not be."""
    found = with_one_polarity({"train": [example(each) for each in learnt], "val": [example(False)]})
    return [each.levels.inverted for each in (*found["train"], *found["val"])]


def test_all_images_are_turned_as_most_of_those_learnt():
    assert turned(True, True, False) == [True] * 4
    assert turned(True, False, False) == [False] * 4


def test_the_model_s_polarity_counts_before_that_of_the_image_and_the_user_s_before_both():
    levels = measure_levels(np.random.default_rng(0).normal(100, 5, (50, 50)))
    header = {"normalisation": normalisation("colours", 3, polarity="dark")}
    assert with_polarity(levels, "auto", header).inverted
    assert not with_polarity(levels, "bright", header).inverted
    assert with_polarity(levels, "auto", {}).inverted == levels.inverted
