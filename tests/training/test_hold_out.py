"""Paint held back to validate on: how much, how far from what is learnt, and when it is too little."""

import numpy as np
import pytest

from napari_tessera.training.annotations.annotation import AnnotationWindow
from napari_tessera.training.annotations.examples import GAP_PX, NEAR_PLANES, SIDE_PX, chosen_blocks, hold_out

SIDE = 6 * SIDE_PX


def painted(labels, place=(), image=0, at=(0, 0)):
    labels = np.asarray(labels, np.int32)
    window = tuple(slice(start, start + side) for start, side in zip(at, labels.shape, strict=True))
    return AnnotationWindow((image, place), tuple(at), window, labels)


def two_classes(seed=0):
    """Background and class 2 in dots all over 36 blocks."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number in (1, 2):
        y, x = rng.integers(0, SIDE, (2, 2000))
        labels[y, x] = number
    return labels


def ten_objects():
    """Ten squares on painted background, in a row."""
    labels = np.ones((20, 200), np.int32)
    for number in range(10):
        labels[5:15, 20 * number + 5 : 20 * number + 15] = 2 + number
    return labels


def held(labels, task="classes", share=0.2, seed=0, **more):
    return hold_out([painted(labels)], task, share, np.random.default_rng(seed), **more)


@pytest.mark.parametrize("number", [1, 2])
def test_about_a_fifth_of_each_class_is_held_back(number):
    paint = painted(two_classes())
    checked = held(paint.labels).to_check(paint)
    assert 0.12 < (checked == number).sum() / (paint.labels == number).sum() < 0.4


def test_nothing_learnt_is_nearer_than_the_gap_to_what_is_held_back():
    paint = painted(two_classes())
    out = held(paint.labels)
    learnt, checked = np.argwhere(out.to_learn(paint)), np.argwhere(out.to_check(paint))
    nearest = min(np.abs(learnt - each).max(axis=1).min() for each in checked)
    assert nearest > GAP_PX


def test_what_is_learnt_and_what_is_held_back_was_painted_so():
    paint = painted(two_classes())
    out = held(paint.labels)
    for labels in (out.to_learn(paint), out.to_check(paint)):
        assert set(np.unique(labels)) == {0, 1, 2}
        assert (labels[labels > 0] == paint.labels[labels > 0]).all()


def test_same_seed_same_blocks_and_another_seed_others():
    labels = two_classes()
    assert held(labels, seed=3) == held(labels, seed=3)
    assert held(labels, seed=3) != held(labels, seed=4)


def test_the_blocks_move_with_the_paint():
    labels = two_classes()
    here, there = painted(labels), painted(labels, at=(37, 1001))
    out, moved = (hold_out([each], "classes", 0.2, np.random.default_rng(0)) for each in (here, there))
    np.testing.assert_array_equal(out.to_check(here), moved.to_check(there))


def test_a_class_in_too_few_places_leaves_nothing_held_back_and_says_which():
    labels = two_classes()
    labels[3, 3] = 3
    out = held(labels)
    assert "Class 3 is painted in one place only" in out.reason
    assert not out.to_check(painted(labels)).any()
    assert (out.to_learn(painted(labels)) == labels).all()


def test_of_one_class_alone_nothing_is_held_back_and_it_is_said():
    labels = np.where(two_classes() == 2, 2, 0)
    out = held(labels)
    assert "The annotation has only one class" in out.reason
    assert not out.to_check(painted(labels)).any()


def test_background_in_too_few_places_is_called_background():
    labels = two_classes()
    labels[labels == 1] = 0
    labels[3, 3] = 1
    assert held(labels).reason.startswith("The background (1) is painted in one place only")


def test_a_share_of_0_holds_nothing_back_and_says_so():
    out = held(two_classes(), share=0)
    assert "As the settings say" in out.reason
    assert not out.to_check(painted(two_classes())).any()


def test_neighbouring_planes_do_not_learn_what_is_held_back():
    labels = two_classes()
    near, far = painted(labels, (NEAR_PLANES,)), painted(labels, (NEAR_PLANES + 1,))
    out = hold_out([painted(labels, (0,))], "classes", 0.2, np.random.default_rng(0))
    assert (out.to_learn(near) == 0).sum() > (labels == 0).sum()
    assert (out.to_learn(far) == labels).all()


def test_another_image_at_the_same_place_learns_all():
    labels = two_classes()
    out = held(labels)
    assert (out.to_learn(painted(labels, image=1)) == labels).all()


def test_objects_are_held_back_whole_with_the_background_around_them():
    paint = painted(ten_objects())
    out = held(paint.labels, "objects", diameter_px=10)
    checked = out.to_check(paint)
    numbers = sorted(set(checked.ravel().tolist()) - {0, 1})
    assert len(numbers) == 2
    assert all((checked == number).sum() == 100 for number in numbers)
    assert (checked == 1).any()


def test_objects_beside_those_held_back_are_learnt_whole():
    paint = painted(ten_objects())
    learnt = held(paint.labels, "objects", diameter_px=10).to_learn(paint)
    numbers, counts = np.unique(learnt[learnt > 1], return_counts=True)
    assert len(numbers) == 8
    assert set(counts.tolist()) == {100}


def test_background_held_back_is_not_learnt():
    paint = painted(ten_objects())
    out = held(paint.labels, "objects", diameter_px=10)
    assert not ((out.to_learn(paint) > 0) & (out.to_check(paint) > 0)).any()


def test_few_objects_are_all_learnt_and_it_is_said():
    labels = np.where(ten_objects() > 4, 0, ten_objects())
    out = held(labels, "objects")
    assert out.reason.startswith("3 objects are painted, too few")
    assert not out.to_check(painted(labels)).any()


def test_an_object_over_several_planes_is_held_back_in_all():
    planes = [painted(ten_objects(), (z,)) for z in range(2)]
    out = hold_out(planes, "objects", 0.2, np.random.default_rng(0))
    first, second = (set(np.unique(out.to_check(plane)).tolist()) for plane in planes)
    assert first == second


def test_blocks_of_the_rarest_class_are_chosen_first():
    counts = np.array([[0, 100, 0]] * 10 + [[0, 0, 1]] * 5)
    chosen = chosen_blocks(counts, 0.2, np.random.default_rng(0))
    assert counts[chosen].sum(0).tolist() == [0, 200, 1]
