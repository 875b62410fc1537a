"""The scale at which an image is shown to a network."""

import math

import numpy as np
import pytest

from napari_tessera.core.jobs import Progress, run_job
from napari_tessera.inference import scale_search as scales
from napari_tessera.inference.decode_unet import UNetOptions
from napari_tessera.inference.normalization import Levels, measure_levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.predictor import Network
from napari_tessera.inference.scale_search import (
    bounded,
    find_scale,
    may_be_held_back,
    predict_or_reuse,
    probe_windows,
    search_scale,
)
from tests.helpers.tiny_models import bright_net


def view_of(image, spacing=None):
    return NormalizedImage(image, measure_levels(image), False, spacing or (1.0,) * image.ndim)


def network(size=None, ndim=2, diameter_px=20.0):
    return Network(bright_net(ndim, size=size), {"diameter_px": diameter_px, "task": "objects"}, "cpu")


def bright_square(shape=(40, 40)):
    image = np.zeros(shape)
    image[..., 10:30, 10:30] = 1
    return image


def scale(net, view, **how):
    return run_job(find_scale(net, view, UNetOptions(**how))).factor


def predicted(net, view, how):
    return run_job(predict_or_reuse(run_job(find_scale(net, view, how)), net, view, how))


def test_a_given_diameter_sets_the_scale():
    assert scale(network(size=0.0), view_of(bright_square()), diameter_px=10) == 2
    scores = predicted(network(), view_of(bright_square()), UNetOptions(diameter_px=10))
    assert scores["distance"].shape == (1, 80, 80)


def test_objects_of_the_usual_size_are_left_as_they_are():
    assert scale(network(size=0.0), view_of(bright_square())) == 1


@pytest.fixture
def by_scores_alone(monkeypatch):
    monkeypatch.setattr(scales, "DISAGREEMENT", math.inf)


def test_objects_that_look_small_are_magnified_look_by_look(by_scores_alone):
    assert scale(network(size=math.log(0.8)), view_of(bright_square())) == pytest.approx(1.25**3, rel=0.01)


@pytest.mark.parametrize("size", [0.3, 0.5, 2, 4])
def test_the_decoded_objects_count_where_the_size_scores_are_far_from_them(size):
    side, usual_px = 20, 20.0  # a square of 400 px is as large as a disc of 22.6 px
    found = scale(network(size=math.log(size), diameter_px=usual_px), view_of(bright_square()))
    assert found == pytest.approx(usual_px / (side * math.sqrt(4 / math.pi)), rel=0.1)


def test_nearly_the_usual_size_is_not_worth_another_look():
    assert scale(network(size=math.log(0.95)), view_of(bright_square())) == 1


def test_an_image_without_objects_is_left_as_it_is():
    assert scale(network(size=math.log(0.5)), view_of(np.zeros((40, 40)))) == 1


@pytest.mark.parametrize("net", [network(size=None), network(size=0.7, diameter_px=None)])
def test_a_model_that_knows_no_size_sees_the_image_as_it_is(net):
    assert scale(net, view_of(bright_square())) == 1


def test_a_large_image_is_looked_at_in_windows(monkeypatch, by_scores_alone):
    monkeypatch.setattr(scales, "WHOLE_PX", 100)
    monkeypatch.setattr(scales, "WINDOW_PX", {2: 40})
    view = view_of(np.tile(bright_square(), (3, 3)))
    assert [window.shape for window in probe_windows(view, 1.0, 2)] == [(40, 40)] * 4
    assert scale(network(size=math.log(0.5)), view) == pytest.approx(6, rel=0.02)


def test_the_scale_is_found_with_the_same_tiles_whatever_is_asked_for(monkeypatch):
    sides, predict = [], scales.predict

    def seen(*given, **how):
        sides.append(how["tile_px"])
        return predict(*given, **how)

    monkeypatch.setattr(scales, "predict", seen)
    run_job(find_scale(network(size=math.log(0.8)), view_of(bright_square()), UNetOptions(tile_px=16)))
    assert set(sides) == {None}
    predicted(network(size=0.0), view_of(bright_square()), UNetOptions(diameter_px=20, tile_px=16))
    assert sides[-1] == 16


def test_planes_of_a_volume_are_looked_at_by_a_network_for_planes():
    windows = probe_windows(view_of(bright_square((9, 40, 40))), 1.0, 2)
    assert [window.shape for window in windows] == [(40, 40)] * 4


def test_windows_with_something_in_them_come_first():
    image = np.zeros((100, 40, 40))
    image[30:60, 10:30, 10:30] = 1
    assert all(window.image.any() for window in probe_windows(view_of(image), 1.0, 2)[:3])


def test_pixels_that_are_far_apart_are_magnified_along_their_axis():
    volume = view_of(bright_square((4, 40, 40)), (3.0, 1.0, 1.0))
    assert volume.factors(2.0) == (6, 2, 2)
    assert volume.plane(1, 0).factors(2.0) == (6, 2)


def scale_found(seen_at, others=()):
    """The scale of an image in which objects of 5 network pixels are seen at the scales `seen_at`, and then of 10."""

    def look(window, factor):
        yield Progress(0, 1, "Looking")
        return factor

    def diameter(found, factor):
        yield from ()
        return (5.0 if factor == seen_at[0] else 10.0) if factor in seen_at else None

    return run_job(search_scale(view_of(bright_square((40, 40))), 2, 10.0, look, diameter, others))[0]


def test_a_scale_at_which_nothing_is_seen_is_not_taken():
    assert scale_found(seen_at=[1.0, 2.0]) == 2
    assert scale_found(seen_at=[1.0]) == 1


def test_where_there_is_nothing_at_scale_1_others_are_looked_at():
    assert scale_found(seen_at=[0.25, 0.5], others=(0.25, 2.0)) == 0.5
    assert scale_found(seen_at=[2.0], others=(0.25, 2.0)) == 2
    assert scale_found(seen_at=[3.0], others=(0.25, 2.0)) == 1


def blank(*shape):
    return view_of(np.broadcast_to(np.uint8(0), shape))


def test_a_plane_too_large_for_memory_is_not_magnified_where_it_is_worked_on_as_a_whole():
    assert bounded(4.0, blank(8000, 8000)) == 1
    assert may_be_held_back(1.0, blank(8000, 8000))
    assert not may_be_held_back(0.9, blank(8000, 8000))
    assert not may_be_held_back(4.0, blank(500, 500))
    assert bounded(4.0, blank(7, 500, 500)) == 4


def test_a_volume_too_large_for_memory_is_magnified_less_by_a_network_for_volumes():
    assert bounded(4.0, blank(100, 500, 500), ndim=3) == pytest.approx(2 ** (1 / 3))
    assert may_be_held_back(2.0, blank(100, 500, 500), ndim=3)
    assert bounded(4.0, blank(60, 100, 100), ndim=3) == 4


def test_an_image_that_is_read_piece_by_piece_is_magnified_whatever_its_size():
    class Stored:
        shape = (8000, 8000)

    view = NormalizedImage(Stored(), Levels(0.0, 1.0), False, (1.0, 1.0))
    assert bounded(4.0, view) == 4
    assert not may_be_held_back(4.0, view)
