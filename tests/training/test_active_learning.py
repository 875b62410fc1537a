"""Where a network is least sure: half known pixels, objects whose score just decides; nothing that is painted."""

import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.models.weights import save_model
from napari_tessera.training.active_learning import (
    CELL_PX,
    UncertainRegion,
    image_tiles,
    non_overlapping,
    uncertain_regions,
    uncertainty_of_classes,
    uncertainty_of_objects,
    where_to_paint,
)
from napari_tessera.training.annotations.read import painting_of
from tests.helpers.tiny_models import BrightDetector, save_bright, small_mask_rcnn


def test_two_classes_alike_are_all_doubt():
    np.testing.assert_allclose(uncertainty_of_classes(np.array([[0.0, 0.5, 1.0, 0.9]])), [0, 1, 0, 0.469], atol=1e-3)


def test_three_classes_alike_are_all_doubt_and_two_of_three_are_less():
    doubt = uncertainty_of_classes(np.array([[1 / 3, 0.5], [1 / 3, 0.5]]))
    np.testing.assert_allclose(doubt, [1, np.log(2) / np.log(3)], atol=1e-3)


def test_an_object_at_the_least_score_is_doubted_most():
    labels = np.array([[0, 1], [2, 3]])
    np.testing.assert_allclose(uncertainty_of_objects(labels, np.array([0.6, 0.8, 0.3]), 0.6), [[0, 1], [0.5, 0.5]])


def test_the_darkest_spots_are_found_in_order():
    doubt = np.zeros((64, 64), np.float32)
    doubt[8:16, 40:48], doubt[48:56, 8:16] = 0.4, 0.9
    (first, most), (second, less) = uncertain_regions(doubt, CELL_PX, 9)
    assert (first, second) == ((slice(48, 56), slice(8, 16)), (slice(8, 16), slice(40, 48)))
    assert (most, less) == pytest.approx((0.9, 0.4))


def test_regions_do_not_overlap():
    regions = [window for window, _ in uncertain_regions(np.ones((96, 96), np.float32), 32, 9)]
    seen = np.zeros((96, 96), int)
    for window in regions:
        seen[window] += 1
    assert seen.max() == 1
    assert len(regions) >= 4


def test_of_a_volume_regions_lie_in_planes_apart():
    doubt = np.zeros((9, 32, 32), np.float32)
    doubt[:, 8:16, 8:16] = 0.5
    doubt[4, 8:16, 8:16] = 0.9
    planes = [window[0].start for window, _ in uncertain_regions(doubt, CELL_PX, 9)]
    assert planes == [4, 0, 7]


def test_where_nothing_is_doubted_there_is_no_region():
    assert uncertain_regions(np.zeros((32, 32), np.float32), 16, 3) == []


def test_of_regions_over_each_other_in_near_planes_one_is_kept():
    here = (slice(0, 8), slice(0, 8))
    regions = [UncertainRegion((0,), here, 0.5), UncertainRegion((1,), here, 0.6), UncertainRegion((5,), here, 0.4)]
    assert [region.place for region in non_overlapping(regions, 9)] == [(1,), (5,)]


def test_a_small_image_is_looked_at_as_a_whole():
    tiles = image_tiles((3, 500, 300), 2, 40, np.random.default_rng(0))
    seen = np.zeros((3, 500, 300), int)
    for tile in tiles:
        seen[(*tile.place, *tile.window)] += 1
    assert (seen == 1).all()


def test_of_a_large_image_windows_are_drawn_by_lot():
    shape = (200, 20_000, 20_000)
    one, again = (image_tiles(shape, 2, 40, np.random.default_rng(3)) for _ in range(2))
    assert one == again
    assert len({tile.place for tile in one}) > 20


def half_bright():
    """Dark on the left, bright on the right, and a spot of half brightness in each half."""
    image = np.zeros((96, 128), np.uint8)
    image[:, 64:] = 200
    image[20:44, 20:44], image[60:84, 90:114] = 100, 100
    return image


def found(model, paint):
    return run_job(where_to_paint(model, painting_of("spots", half_bright(), paint, 2), diameter_px=20))


def has_spot(region, spot):
    return all(part.start < stop and start < part.stop for part, (start, stop) in zip(region.window, spot, strict=True))


SPOTS = (((20, 44), (20, 44)), ((60, 84), (90, 114)))


def test_the_object_whose_score_just_decides_is_where_to_paint(tmp_path, monkeypatch):
    save_model(tmp_path / "squares.safetensors", small_mask_rcnn(5), {})
    monkeypatch.setattr("napari_tessera.inference.predictor.load_detector", lambda *_: BrightDetector(diameter_px=20.0))
    image = np.zeros((96, 128), np.uint8)
    image[10:30, 10:30], image[60:80, 90:110] = 200, 110
    painting = painting_of("squares", image, np.zeros(image.shape, np.uint8), 2)
    first, *_ = run_job(where_to_paint(tmp_path / "squares.safetensors", painting, diameter_px=20))
    assert has_spot(first, ((60, 80), (90, 110)))


@pytest.fixture
def model(tmp_path):
    """A model that calls bright what is above half brightness, and knows nothing at half brightness."""
    return save_bright(tmp_path / "bright.safetensors", diameter_px=20)


def test_half_brightness_is_where_to_paint(model):
    regions = found(model, np.zeros((96, 128), np.uint8))
    for spot in SPOTS:
        assert any(has_spot(region, spot) for region in regions[:2])


def test_what_is_painted_is_not_asked_for_again(model):
    paint = np.zeros((96, 128), np.uint8)
    paint[20:44, 20:44] = 2
    regions = found(model, paint)
    assert has_spot(regions[0], SPOTS[1])
    assert not any(has_spot(region, SPOTS[0]) for region in regions)


def test_the_same_seed_gives_the_same_regions(model):
    paint = np.zeros((96, 128), np.uint8)
    assert found(model, paint) == found(model, paint)
