"""From detections to numbered objects: who gets a pixel, what is dropped, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.detections_to_labels import (
    DetectionThresholds,
    DroppedDetections,
    keep_largest_pieces,
    objects_of,
)
from napari_tessera.inference.normalization import Levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_objects, find_scale
from napari_tessera.methods.mask_rcnn import notes_on, notes_on_blocks, table_of
from napari_tessera.models.mask_rcnn.detections import Detections, DroppedProposals
from tests.helpers.tiny_models import BrightDetector

HALF = DetectionThresholds(score=0.5)


def detections(*boxes, scores=None, labels=None, masks=None, left=None):
    """Full boxes (x0, y0, x1, y1), highest score first."""
    count = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
        torch.tensor(labels or [1] * count, dtype=torch.long),
        torch.tensor(scores or [0.9 - 0.01 * number for number in range(count)]),
        torch.ones(count, 4, 4) if masks is None else masks,
        left or DroppedProposals(),
    )


def objects_in(found, shape=(6, 12), which=HALF, min_size=0):
    return run_job(objects_of(found, shape, which, True, min_size))


def test_a_box_that_is_full_becomes_its_pixels():
    labels, rows, _ = objects_in(detections([2, 1, 6, 4]))
    assert labels.dtype == np.int32
    assert np.argwhere(labels == 1).min(0).tolist() == [1, 2]
    assert (labels == 1).sum() == 12
    assert (rows.low.tolist(), rows.high.tolist()) == ([[1, 2]], [[4, 6]])


def test_objects_are_numbered_in_raster_order_and_rows_follow():
    labels, rows, _ = objects_in(detections([7, 3, 9, 5], [1, 0, 3, 2], labels=[2, 1]))
    assert labels[0, 1] == 1
    assert labels[3, 7] == 2
    assert rows.classes.tolist() == [1, 2]
    assert rows.scores.tolist() == pytest.approx([0.89, 0.9])


def test_a_shared_pixel_goes_to_the_higher_score_and_the_loss_is_told():
    labels, rows, left = objects_in(detections([4, 0, 8, 4], [0, 0, 5, 4]))
    assert (labels[0] == [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0]).all()
    assert rows.lost_px.tolist() == [4, 0]
    assert table_of(rows, ("background", "cell"))["hidden"].tolist() == [0.2, 0]
    assert (left.overlapping, left.shared_px) == (1, 4)


def test_an_object_that_is_mostly_hidden_is_dropped_and_what_it_held_goes_to_others():
    found = detections([0, 0, 6, 4], [2, 0, 8, 4], [6, 0, 12, 4])
    labels, rows, left = objects_in(found)
    assert len(rows.scores) == 2
    assert (labels[0] == [1] * 6 + [2] * 6).all()
    assert (left.hidden, left.overlapping) == (1, 0)


def test_a_mask_without_a_pixel_is_no_object():
    labels, _, left = objects_in(detections([2, 1, 6, 4], masks=torch.zeros(1, 4, 4)))
    assert not labels.any()
    assert left.blank == 1


def test_a_piece_that_is_cut_off_from_its_object_is_dropped():
    labels, rows, _ = objects_in(detections([4, 0, 6, 6], [0, 2, 12, 4]))
    assert labels[2].tolist() == [0] * 4 + [1] * 2 + [2] * 6
    assert rows.lost_px.tolist() == [0, 4]


def test_of_equal_pieces_the_first_stays():
    labels = np.array([[1, 0, 1], [2, 2, 0]], np.int32)
    run_job(keep_largest_pieces(labels, 2))
    assert labels.tolist() == [[1, 0, 0], [2, 2, 0]]


def test_small_objects_are_dropped():
    labels, rows, _ = objects_in(detections([0, 0, 2, 2], [4, 0, 8, 4]), min_size=5)
    assert labels.max() == len(rows.scores) == 1
    assert labels[0, 4] == 1


def test_scores_just_below_the_least_one_are_counted():
    _, rows, left = objects_in(detections([0, 0, 2, 2], [4, 0, 8, 4], scores=[0.8, 0.45]))
    assert len(rows.scores) == 1
    assert left == DroppedDetections(faint=1)


def test_the_highest_scores_stay_where_their_number_is_limited():
    boxes = [[4 * number, 0, 4 * number + 3, 3] for number in range(3)]
    labels, _, left = objects_in(detections(*boxes), which=replace(HALF, max_objects=2))
    assert labels[0].tolist() == [1, 1, 1, 0, 2, 2, 2, 0, 0, 0, 0, 0]
    assert left == DroppedDetections(surplus=1)


def test_what_is_dropped_for_another_reason_takes_no_place_among_the_most():
    found = detections([0, 0, 6, 4], [1, 0, 6, 4], [7, 0, 8, 1], [8, 0, 12, 4], [0, 4, 4, 6])
    labels, rows, left = objects_in(found, which=replace(HALF, max_objects=2), min_size=2)
    assert rows.scores.tolist() == pytest.approx([0.9, 0.87])
    assert (labels[0] == [1] * 6 + [0] * 2 + [2] * 4).all()
    assert left == DroppedDetections(hidden=1, small=1, surplus=1)


def test_overlap_of_what_was_left_out_is_not_told():
    _, rows, left = objects_in(detections([0, 0, 5, 4], [4, 0, 8, 4]), which=replace(HALF, max_objects=1))
    assert rows.lost_px.tolist() == [0]
    assert left == DroppedDetections(surplus=1)


def test_of_equal_scores_the_first_objects_stay():
    boxes = [[4 * number, 0, 4 * number + 3, 3] for number in range(3)]
    labels, _, _ = objects_in(detections(*boxes, scores=[0.8] * 3), which=replace(HALF, max_objects=2))
    assert labels[0].tolist() == [1, 1, 1, 0, 2, 2, 2, 0, 0, 0, 0, 0]


def test_no_detections_give_no_objects():
    labels, rows, left = objects_in(detections(masks=torch.empty(0, 28, 28)))
    assert not labels.any()
    assert table_of(rows, ("background", "cell"))["class"].tolist() == []
    assert left == DroppedDetections()


# Notes


def test_nothing_is_said_where_nothing_was_left_out():
    assert notes_on(DroppedDetections(), HALF) == ()


def test_a_note_for_each_reason_says_how_many_and_what_to_do():
    left = DroppedDetections(unseen=1, faint=2, surplus=3, hidden=1, blank=5, overlapping=6, shared_px=70)
    surplus, faint, hidden, blank, overlapping, unseen = notes_on(left, DetectionThresholds(score=0.5, max_objects=10))
    assert faint == (
        "2 objects scored just below the least score, 0.40 to 0.50, and were left out. Lower `min_score` to have them."
    )
    assert "3 objects of lower scores were left out, since `max_objects` is 10. Raise it" in surplus
    assert "1 object was dropped: more than 50% of the mask" in hidden
    assert "5 objects were dropped: the mask has no pixel." in blank
    assert "6 objects lost 70 px to overlapping ones" in overlapping
    assert "1 object that seemed likely was not looked at" in unseen


def test_notes_on_a_volume_say_that_planes_were_counted():
    assert notes_on(DroppedDetections(surplus=3), DetectionThresholds(max_objects=10), is_volume=True)[1].startswith(
        "Objects were counted in each"
    )
    assert notes_on(DroppedDetections(), HALF, is_volume=True) == ()


def test_notes_on_blocks_give_no_numbers_so_that_each_is_told_once():
    first, second = (
        notes_on_blocks(DroppedDetections(faint=n, hidden=n, overlapping=n, unseen=n), HALF) for n in (2, 9)
    )
    assert first == second
    assert len(first) == 4


def test_what_the_user_asks_for_goes_before_the_model():
    header = {"decoding": {"score": 0.7, "mask_level": 0.4, "other": 1}}
    assert DetectionThresholds.of(header) == DetectionThresholds(score=0.7, mask_level=0.4)
    assert DetectionThresholds.of(header, score=0.2, max_objects=5) == DetectionThresholds(
        score=0.2, max_objects=5, mask_level=0.4
    )
    assert DetectionThresholds.of({}, score=0.05).faintest == 0


# Planes and volumes


def view_of(image, spacing=None):
    return NormalizedImage(image, Levels(0.0, 1.0), False, spacing or (1.0,) * image.ndim)


def squares(size, high=0.9, shape=(64, 96)):
    image = np.zeros(shape, np.float32)
    for y in (8, 36):
        for x in (8, 40, 70):
            image[y : y + size, x : x + size] = high
    return image


def found_in(image, how=None, diameter_px=None, spacing=None):
    return run_job(find_objects(BrightDetector(diameter_px), view_of(image, spacing), how or MaskRCNNOptions()))


def test_a_trace_of_overlap_is_worth_no_word():
    _, rows, left = objects_in(detections([0, 0, 8, 6], [7, 0, 31, 6]), shape=(6, 32))
    assert rows.lost_px.tolist() == [0, 4]
    assert left == DroppedDetections()


def test_a_plane_is_painted_on_its_own_grid():
    labels, rows, _ = found_in(squares(10))
    np.testing.assert_array_equal(labels > 0, squares(10) > 0)
    assert len(rows.scores) == 6


@pytest.mark.parametrize(("size", "factor"), [(10, 1.0), (20, 0.5), (5, 2.0)])
def test_the_scale_is_that_at_which_objects_have_the_size_that_the_network_knows(size, factor):
    usual_px = 10 * 2 / np.sqrt(np.pi)
    found = run_job(find_scale(BrightDetector(usual_px), view_of(squares(size)), MaskRCNNOptions()))
    assert found.factor == pytest.approx(factor, rel=0.12)


def test_a_given_diameter_sets_the_scale():
    assert run_job(find_scale(BrightDetector(30.0), view_of(squares(10)), MaskRCNNOptions(diameter_px=10))).factor == 3


def test_the_scale_without_objects_is_that_of_the_image():
    assert run_job(find_scale(BrightDetector(30.0), view_of(squares(10, high=0)), MaskRCNNOptions())).factor == 1


def test_objects_that_are_seen_only_when_smaller_are_found():
    class Shortsighted(BrightDetector):
        def detect(self, image, lowest_score=0.0):
            found = super().detect(image, lowest_score)
            return found.chosen(torch.nonzero(found.boxes[:, 2] - found.boxes[:, 0] < 20)[:, 0])

    large = np.pad(np.full((40, 40), 0.9, np.float32), 40)
    factor = run_job(find_scale(Shortsighted(10.0), view_of(large), MaskRCNNOptions())).factor
    assert factor == pytest.approx(10 / (40 * 2 / np.sqrt(np.pi)), rel=0.15)


def test_the_scale_does_not_depend_on_the_score_that_is_asked_for():
    high, low = (DetectionThresholds(score=score) for score in (0.95, 0.1))
    scales = [
        run_job(find_scale(BrightDetector(20.0), view_of(squares(10)), MaskRCNNOptions(thresholds=how))).factor
        for how in (high, low)
    ]
    assert scales[0] == scales[1] > 1.5


def test_the_scale_does_not_depend_on_the_tiles():
    def looked_at(tile_px):
        options = MaskRCNNOptions(tile_px=tile_px)
        return run_job(find_scale(BrightDetector(20.0, tile_px=300), view_of(scene), options)).factor

    scene = np.kron(np.random.default_rng(0).random((12, 12)) > 0.7, np.ones((18, 18))).astype(np.float32) * 0.9
    assert looked_at(None) == looked_at(32) == looked_at(100)


def test_objects_at_another_scale_keep_their_outlines():
    labels, _, _ = found_in(squares(20), MaskRCNNOptions(diameter_px=20), diameter_px=10)
    assert labels.max() == 6
    assert (labels > 0).sum() == pytest.approx((squares(20) > 0).sum(), rel=0.1)


def volume():
    """A square in three of four planes, brightest in the middle; another one in the last plane."""
    image = np.zeros((4, 40, 40), np.float32)
    for z, high in enumerate((0.7, 0.9, 0.8)):
        image[z, 5:15, 5 + z : 15 + z] = high
    image[3, 25:38, 25:38] = 0.6
    return image


def test_objects_of_neighbouring_planes_are_linked_and_have_the_class_and_score_of_the_best():
    labels, rows, _ = found_in(volume())
    np.testing.assert_array_equal(labels > 0, volume() > 0)
    assert labels.max() == 2
    assert rows.scores.tolist() == pytest.approx([0.9, 0.6])
    assert rows.classes.tolist() == [1, 2]
    assert rows.low.tolist() == [[0, 5, 5], [3, 25, 25]]
    assert rows.high.tolist() == [[3, 15, 17], [4, 38, 38]]


def test_boxes_of_a_volume_have_a_depth_in_the_table():
    _, rows, _ = found_in(volume())
    table = table_of(rows, ("background", "small", "large"))
    assert list(table) == [
        "label", "class", "score", "box_z0", "box_y0", "box_x0", "box_z1", "box_y1", "box_x1", "hidden",
    ]  # fmt: skip
    assert table["class"].tolist() == ["small", "large"]


def test_voxels_of_the_whole_object_count_for_its_size():
    assert found_in(volume(), MaskRCNNOptions(min_size=170))[0].max() == 1
    labels, rows, _ = found_in(volume(), MaskRCNNOptions(min_size=1000))
    assert labels.max() == len(rows.scores) == 0


def test_overlap_decides_what_is_linked():
    assert found_in(volume(), MaskRCNNOptions(least_overlap=0.9))[0].max() == 4


def test_planes_whose_pixels_are_no_squares_are_stretched():
    labels, _, _ = found_in(squares(10), MaskRCNNOptions(diameter_px=10), diameter_px=10, spacing=(2.0, 1.0))
    np.testing.assert_array_equal(labels > 0, squares(10) > 0)
