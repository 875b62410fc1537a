"""Which boxes are right and wrong in training, which count, and what a truth says of them."""

import torch

from napari_tessera.models.mask_rcnn.matcher import (
    NEITHER,
    WRONG,
    draw,
    ignore_unlabeled,
    mask_targets,
    match,
    share_inside,
    truth_of,
)

OBJECTS = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])


def test_boxes_belong_to_the_object_they_overlap_most():
    boxes = torch.tensor([[0.0, 0, 10, 9], [21, 0, 30, 10], [40, 0, 50, 10], [0, 0, 10, 5]])
    assert match(OBJECTS, boxes, right=0.7, wrong=0.3).tolist() == [0, 1, WRONG, NEITHER]


def test_the_best_box_of_an_object_belongs_to_it_all_the_same():
    boxes = torch.tensor([[0.0, 0, 10, 2], [0, 0, 10, 1], [20, 0, 30, 9]])
    assert match(OBJECTS, boxes, 0.7, 0.3, best_always=True).tolist() == [0, WRONG, 1]


def test_an_object_that_no_box_touches_claims_none():
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    assert match(OBJECTS, boxes, 0.7, 0.3, best_always=True).tolist() == [0, WRONG]


def test_without_objects_every_box_is_wrong():
    assert match(torch.zeros(0, 4), OBJECTS, 0.7, 0.3).tolist() == [WRONG, WRONG]


def test_share_inside_counts_the_pixels_of_the_box():
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[:, 3:] = True
    boxes = torch.tensor([[0.0, 0, 3, 4], [2, 1, 4, 3], [3, 0, 9, 4], [10, 10, 12, 12]])
    assert share_inside(mask, boxes).tolist() == [0, 0.5, 1, 1]


def test_wrong_boxes_on_unpainted_ground_count_neither_way():
    unpainted = torch.zeros(10, 30, dtype=torch.bool)
    unpainted[:, 15:] = True
    matched = ignore_unlabeled(torch.tensor([WRONG, WRONG, 0]), OBJECTS[[0, 1, 1]], unpainted, 0.5)
    assert matched.tolist() == [WRONG, NEITHER, 0]


def test_wrong_boxes_fill_up_where_right_ones_are_few():
    matched = torch.tensor([0] + [WRONG] * 20 + [NEITHER] * 5)
    right, wrong = draw(matched, 8, right_share=0.5, rng=torch.Generator().manual_seed(0))
    assert right.tolist() == [0]
    assert len(wrong.unique()) == 7
    assert (matched[wrong] == WRONG).all()


def test_right_boxes_are_at_most_their_share():
    right, wrong = draw(torch.tensor([0] * 20 + [WRONG] * 20), 8, right_share=0.25)
    assert (len(right), len(wrong)) == (2, 6)


LABELS = torch.tensor(
    [
        [0, 0, 0, 0, 0],
        [0, 7, 7, 0, 0],
        [0, 7, 7, 3, 0],
        [0, 0, 0, 3, 0],
    ]
)


def test_truth_of_a_label_image():
    classes = torch.zeros(8, dtype=torch.long)
    classes[3], classes[7] = 2, 1
    truth = truth_of(LABELS, classes, is_aligned=True)
    assert truth.boxes.tolist() == [[3, 2, 4, 4], [1, 1, 3, 3]]
    assert truth.labels.tolist() == [2, 1]
    assert torch.equal(truth.instances, (LABELS == 3) + 2 * (LABELS == 7))


def test_boxes_of_the_published_model_end_on_the_last_pixel():
    assert truth_of(LABELS, torch.ones(8, dtype=torch.long)).boxes.tolist() == [[3, 2, 3, 3], [1, 1, 2, 2]]


def test_truth_without_background_has_all_its_objects():
    truth = truth_of(torch.tensor([[4, 4], [4, 9]]), torch.ones(10, dtype=torch.long), is_aligned=True)
    assert truth.boxes.tolist() == [[0, 0, 2, 2], [1, 1, 2, 2]]


def test_mask_targets_are_read_within_the_box():
    ignore = torch.zeros(4, 5, dtype=torch.bool)
    ignore[0] = True
    truth = truth_of(LABELS, torch.ones(8, dtype=torch.long), ignore, is_aligned=True)
    box, seven = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([1])
    assert mask_targets([box], [seven], [truth], 4, is_aligned=True).tolist() == [
        [[0, 0, 0, 0], [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1]]
    ]


def test_truth_grows_with_its_image():
    truth = truth_of(LABELS, torch.ones(8, dtype=torch.long), is_aligned=True).scaled((8, 10))
    assert truth.boxes.tolist() == [[6, 4, 8, 8], [2, 2, 6, 6]]
    assert torch.equal(truth.instances[::2, ::2], (LABELS == 3) + 2 * (LABELS == 7))
