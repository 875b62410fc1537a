"""What a run of a network will cost: sentences, and the part of the image that counts."""

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import ParameterError
from napari_tessera.core.region import Region
from napari_tessera.engine.cost_estimate import Forecast, forecast, frames_of, models_of
from napari_tessera.methods.registry import method_named
from tests.helpers.tiny_models import save_bright

CPU = "the processor (2 cores)"
UNET = method_named("unet")
DEFAULTS = UNET.declaration.defaults | {"device": "cpu"}


@pytest.fixture
def model(tmp_path):
    return str(save_bright(tmp_path / "bright.safetensors", diameter_px=16))


def test_sentence_says_device_time_and_memory():
    assert Forecast(CPU, 12.2, 550_000_000, 10**10).sentence == (
        "On the processor (2 cores): about 12 s, 0.6 GB of memory."
    )


def test_sentence_says_which_objects_the_time_is_for():
    assert "about 12 s if objects are about 32 px wide" in Forecast(CPU, 12.2, 550_000_000, 10**10, 32).sentence


@pytest.mark.parametrize(("side", "times"), [(512, 2.0), (4096, 1 + 1 / 16)])
def test_looking_for_the_size_of_objects_takes_time(model, side, times):
    known, unknown = (
        forecast(UNET, "YX", (side, side), None, DEFAULTS | {"model": model, "diameter": diameter})
        for diameter in (16, None)
    )
    assert unknown.seconds == pytest.approx(times * known.seconds)


def test_too_little_memory_is_said_with_advice():
    found = Forecast(CPU, 12.2, 9_000_000_000, 5_200_000_000)
    assert found.is_too_large
    assert "9.0 GB of memory, but only 5.2 GB are free. Work on one plane or a region" in found.sentence


def test_every_frame_counts():
    assert frames_of("TZYX", (5, 9, 64, 48), None) == (5, (9, 64, 48))


def test_a_single_plane_counts_alone():
    assert frames_of("TZYX", (5, 9, 64, 48), Region({"T": 1, "Z": 2})) == (1, (64, 48))


def test_a_drawn_region_counts_as_the_box_around_it():
    outline = np.array([[10, 5], [10, 14], [29, 14]])
    assert frames_of("YXC", (64, 48, 3), Region({}, (outline,))) == (1, (20, 10))


def test_a_region_beyond_the_image_counts_as_far_as_the_image_goes():
    outline = np.array([[-10, -5], [-10, 100], [100, 100]])
    assert frames_of("YX", (64, 48), Region({}, (outline,))) == (1, (64, 48))


def test_more_frames_take_longer(model):
    one, three = (forecast(UNET, "TYX", (n, 64, 64), None, DEFAULTS | {"model": model}) for n in (1, 3))
    assert three.seconds == pytest.approx(3 * one.seconds)


def test_planes_of_a_volume_take_as_long_as_those_of_a_time_series(model):
    how = DEFAULTS | {"model": model, "diameter": 4.0}
    volume, series = (forecast(UNET, axes, (10, 64, 64), None, how) for axes in ("ZYX", "TYX"))
    assert volume.seconds == pytest.approx(series.seconds)


def test_averaging_takes_longer(model):
    plain, averaged = (
        forecast(UNET, "YX", (64, 64), None, DEFAULTS | {"model": model, "augment": each}) for each in (False, True)
    )
    assert averaged.seconds > plain.seconds


def test_small_objects_take_longer(model):
    small, large = (
        forecast(UNET, "YX", (512, 512), None, DEFAULTS | {"model": model, "diameter": each}) for each in (8.0, 16.0)
    )
    assert small.seconds > 2 * large.seconds
    assert large.diameter_px is None


def test_without_a_diameter_the_forecast_says_for_which_it_holds(model):
    assert forecast(UNET, "YX", (64, 64), None, DEFAULTS | {"model": model}).diameter_px == 16


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this computer has the device")
def test_device_that_is_not_there_is_refused(model):
    with pytest.raises(ParameterError, match="mps"):
        forecast(UNET, "YX", (64, 64), None, DEFAULTS | {"model": model, "device": "mps"})


def test_models_that_do_not_matter_cost_nothing():
    panoptic = method_named("panoptic")
    parameters = panoptic.declaration.defaults | {"things_from": "watershed"}
    assert models_of(panoptic, parameters) == ()
    assert forecast(panoptic, "YX", (64, 64), None, parameters) is None


def test_two_networks_cost_the_sum(model):
    panoptic = method_named("panoptic")
    one = panoptic.declaration.defaults | {"things_unet": model, "stuff_unet": model, "device": "cpu"}
    two = one | {"stuff_from": "unet"}
    once, twice = (forecast(panoptic, "YX", (512, 512), None, parameters) for parameters in (one, two))
    assert twice.seconds == pytest.approx(2 * once.seconds)
    assert twice.needed_bytes == once.needed_bytes
