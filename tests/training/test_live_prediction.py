"""What a network in training says of an image by now."""

import numpy as np
import torch

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.normalization import Levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.models.weights import tensors_of
from napari_tessera.training.checkpoint import State
from napari_tessera.training.interactive import LivePredictor
from napari_tessera.training.live_prediction import LiveTraining, Viewport, ViewportPrediction, prediction
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


def predictor(took, side_px=256):
    found = LivePredictor(LiveTraining(), [], "cpu", lambda: None, lambda: False, took=took)
    found.side_px = side_px
    return found


def viewport(side_px):
    return Viewport(0, (), (slice(0, side_px), slice(0, side_px)))


def test_the_live_prediction_grows_until_it_fills_the_view():
    live = predictor(took=1.0)
    sides = []
    for _ in range(8):
        sides.append(live.side_px)
        seen = viewport(min(live.side_px, 600))
        live.took = (seen.window[0].stop / 256) ** 2  # a slow machine: one second for 256 × 256 pixels
        live.adapt_size(ViewportPrediction(seen, np.zeros(())), viewport(600))
    assert sides == sorted(sides)
    assert sides[-1] >= 600


def test_a_live_prediction_of_the_whole_view_takes_no_longer_than_at_first():
    live = predictor(took=4.0)
    live.adapt_size(ViewportPrediction(viewport(256), np.zeros(())), viewport(256))
    assert live.side_px == 128
