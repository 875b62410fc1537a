"""Several methods on the middle of a view."""

import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.engine import api
from napari_tessera.engine.preview import View
from napari_tessera.engine.trials import LARGEST_SIDE_PX, TRIALS, Trial, middle_view, try_method
from napari_tessera.methods.registry import METHODS
from tests.helpers.scenes import blobs

WHOLE = View({}, 0, 0, 20, 24, 1)


def test_view_is_a_square_in_the_middle():
    view = middle_view({"Z": 3}, np.array([[10, 100], [49, 199]]), (300, 400))
    assert view == View({"Z": 3}, 10, 130, 50, 170, 1)


def test_large_view_is_cut_and_keeps_every_pixel():
    view = middle_view({}, np.array([[0, 0], [4999, 5999]]), (5000, 6000))
    assert (view.bottom - view.top, view.right - view.left, view.step) == (LARGEST_SIDE_PX, LARGEST_SIDE_PX, 1)
    assert (view.top + view.bottom, view.left + view.right) == (5000, 6000)


def test_methods_exist_and_have_the_settings():
    methods = {method.name: method for method in METHODS}
    for trial in TRIALS:
        assert set(trial.settings) <= set(methods[trial.method].declaration.defaults)


@pytest.mark.parametrize("name", ["threshold", "watershed"])
def test_method_finds_what_a_run_finds(name):
    trial = next(each for each in TRIALS if each.method == name)
    result = run_job(try_method(trial, blobs(), "YX", WHOLE))
    np.testing.assert_array_equal(result.labels, api.segment(name, blobs(), **result.settings).labels)
    assert result.n_objects == 2
    assert result.settings["polarity"] == "bright"


def test_dark_objects_are_recognised():
    result = run_job(try_method(Trial("threshold", "", {"output": "objects"}), 255 - blobs(), "YX", WHOLE))
    assert (result.settings["polarity"], result.n_objects) == ("dark", 2)


def test_plane_of_a_stack_of_channels_is_tried():
    image = np.stack([np.zeros((20, 24), np.uint8), blobs()])[:, None].repeat(3, axis=1)
    result = run_job(try_method(TRIALS[0], image, "TCYX", View({"T": 1}, 0, 0, 20, 24, 1)))
    assert result.n_objects == 2
