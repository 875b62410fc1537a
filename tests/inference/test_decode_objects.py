"""Objects from pixel scores."""

import numpy as np
import pytest
from scipy import ndimage

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.decode_unet import Decoding, find_objects, usual_size
from napari_tessera.inference.object_features import PixelScores


def scores_of(labels):
    """Say of each pixel what a network would that had learnt everything."""
    distance, border = np.zeros(labels.shape, np.float32), np.zeros(labels.shape, np.float32)
    for number in range(1, labels.max() + 1):
        inside = ndimage.distance_transform_edt(labels == number)
        distance += (inside / max(1, inside.max())).astype(np.float32)
        others = (labels > 0) & (labels != number)
        border[ndimage.binary_dilation(labels == number) & others] = 1
    return PixelScores((labels > 0).astype(np.float32), border, distance)


def found(labels, min_size=0.0, **how):
    return run_job(find_objects(scores_of(labels), Decoding(**how), min_size))


def touching_discs():
    y, x = np.mgrid[:24, :32]
    labels = np.zeros((24, 32), np.int32)
    labels[(y - 12) ** 2 + (x - 10) ** 2 < 36] = 1
    labels[((y - 12) ** 2 + (x - 21) ** 2 < 36) & (labels == 0)] = 2
    return labels


def test_touching_discs_are_two_objects():
    labels = touching_discs()
    parted = found(labels)
    assert parted.dtype == np.int32
    assert parted.max() == 2
    assert (parted == labels).mean() > 0.98


def test_touching_balls_are_two_objects():
    z, y, x = np.mgrid[:16, :16, :28]
    labels = np.zeros((16, 16, 28), np.int32)
    labels[(z - 8) ** 2 + (y - 8) ** 2 + (x - 8) ** 2 < 36] = 1
    labels[((z - 8) ** 2 + (y - 8) ** 2 + (x - 19) ** 2 < 36) & (labels == 0)] = 2
    parted = found(labels, smoothing_px=1.5)  # they are smaller than what models are trained at
    assert parted.max() == 2
    assert (parted == labels).mean() > 0.98


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8), (1, 4, 4)])
def test_nothing_said_is_nothing_found(shape):
    assert not found(np.zeros(shape, np.int32)).any()


def test_an_object_too_flat_for_a_heart_is_found_whole():
    labels = np.zeros((9, 20), np.int32)
    labels[4, 2:18] = 1  # one pixel wide: smoothed, it rises to less than the level of a heart
    np.testing.assert_array_equal(found(labels, smoothing_px=2), labels)


def test_summits_that_hardly_part_are_one_object():
    labels = touching_discs()
    assert found(labels, prominence=1.0).max() == 1


def test_specks_are_dropped():
    labels = touching_discs()
    labels[0, 0] = 3
    assert found(labels).max() == 3
    assert found(labels, min_size=2).max() == 2


def test_everything_object_is_one_object():
    assert found(np.ones((12, 12), np.int32)).tolist() == np.ones((12, 12)).tolist()


def test_objects_are_numbered_in_raster_order():
    labels = np.zeros((20, 30), np.int32)
    labels[10:18, 2:10], labels[1:9, 20:28] = 1, 2
    parted = found(labels)
    assert parted[4, 24] == 1
    assert parted[14, 6] == 2


def test_usual_size_is_that_of_a_disc_and_a_ball():
    assert usual_size(10, 2) == pytest.approx(78.54, abs=0.01)
    assert usual_size(10, 3) == pytest.approx(523.6, abs=0.1)


def test_small_objects_stay_only_where_the_network_is_sure():
    labels = np.zeros((16, 40), np.int32)
    labels[4:8, 4:8], labels[4:8, 14:18], labels[2:14, 24:36] = 1, 2, 3
    scores = scores_of(labels)
    scores.distance[labels == 2] *= 0.5
    scores.distance[labels == 3] *= 0.5
    kept = run_job(find_objects(scores, Decoding(sure_level=0.6), small_size=50))
    np.testing.assert_array_equal(kept, np.array([0, 2, 0, 1])[labels])
