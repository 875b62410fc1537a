"""What a network in training says of an image by now."""

import numpy as np
import torch

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.normalization import Levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.models.weights import tensors_of
from napari_tessera.training.checkpoint import State
from napari_tessera.training.live_prediction import LiveTraining, prediction
from tests.helpers.tiny_models import bright_net, small_mask_rcnn

HEADER = {"task": "objects", "classes": ["background", "blob"], "normalisation": {"kind": "colours", "count": 3}}


def view():
    return NormalizedImage(two_squares(), Levels(0.0, 200.0), False, (1.0, 1.0))


def under_way():
    """A training whose averaged weights find what is bright, while those of this very step find nothing."""
    net = bright_net()
    average = tensors_of(net)
    with torch.no_grad():
        for each in net.parameters():
            each.zero_()
    live = LiveTraining()
    live.begin(State(net.train(), average, None), HEADER)
    return live


def two_squares():
    image = np.zeros((32, 32), np.uint8)
    image[4:12, 4:12], image[20:28, 20:28] = 200, 200
    return image


def test_the_averaged_weights_are_looked_through():
    labels = run_job(prediction(under_way(), view()))
    assert labels.max() == 2
    assert labels[8, 8] == 1


def test_probabilities_say_how_sure_it_is():
    (sure,) = run_job(prediction(under_way(), view(), output="probabilities"))
    assert sure[8, 8] > 0.9
    assert sure[0, 31] < 0.1


def test_a_mask_rcnn_is_looked_through_too():
    net = small_mask_rcnn(channels=5)
    live = LiveTraining()
    live.begin(State(net, tensors_of(net), None), HEADER | {"diameter_px": 20.0})
    labels = run_job(prediction(live, view(), diameter_px=8))
    assert labels.shape == (32, 32)


def test_the_training_goes_on_with_its_own_weights():
    live = under_way()
    run_job(prediction(live, view()))
    assert not any(each.any() for each in live.state.net.parameters())
