"""Likely mix-ups of images and labels, said before the training."""

from __future__ import annotations

import numpy as np
import pytest

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.training.annotations.examples import painted_dataset
from napari_tessera.training.annotations.read import painting_from
from napari_tessera.training.data.dataset import doubts, read_dataset
from napari_tessera.training.data.example import Frame, as_paint
from napari_tessera.training.data.sources import Source
from napari_tessera.training.settings import checked_settings

NOISE = np.random.default_rng(0).integers(50, 200, (40, 40)).astype(np.uint8)
SQUARES = np.kron(np.arange(1, 26).reshape(5, 5), np.pad(np.ones((6, 6), int), 1))
TOUCHING = np.kron(np.arange(1, 170).reshape(13, 13), np.ones((3, 3), int))
ONE = np.zeros((40, 40), int)
ONE[3:20, 3:20] = 255


def said_of(image, labels, **settings):
    return run_job(doubts([Frame("a", image, labels, "train")], checked_settings(settings)))


@pytest.mark.parametrize("labels", [SQUARES, ONE, np.zeros((40, 40), int), TOUCHING])
def test_sound_labels_raise_no_doubt(labels):
    assert said_of(NOISE[: len(labels), : len(labels)], labels) == []


def test_swapped_images_and_labels_are_refused():
    with pytest.raises(InputError, match="Give the images first"):
        said_of(SQUARES, NOISE)


def test_labels_that_look_like_images_are_doubted():
    (doubt,) = said_of(NOISE, NOISE)
    assert "look like images" in doubt


def test_a_mask_of_many_pieces_is_refused_as_objects():
    with pytest.raises(InputError, match=r"usually 25, .* its own number"):
        said_of(NOISE, np.where(SQUARES > 0, 255, 0))


def test_paint_in_which_all_objects_have_one_number_is_refused_without_a_word_of_the_command_line():
    with pytest.raises(InputError, match="key M selects the next") as refused:
        said_of(NOISE, np.where(SQUARES > 0, 2, 1), painted=True)
    assert "tessera" not in str(refused.value)


def test_a_mask_of_two_pieces_is_doubted():
    (doubt,) = said_of(NOISE, np.where((SQUARES == 1) | (SQUARES == 9), 255, 0))
    assert "usually 2, " in doubt


def test_a_mask_is_sound_for_classes():
    assert said_of(NOISE, np.where(SQUARES > 0, 1, 0), task="classes") == []


def test_numbered_objects_as_classes_are_doubted():
    (doubt,) = said_of(NOISE, SQUARES, task="classes")
    assert "numbers up to 25" in doubt


def test_a_number_that_is_ignored_is_no_class():
    labels = np.array([[0, 1, 255]], np.uint8)
    assert said_of(np.ones((1, 3)), labels, task="classes", ignore=255) == []
    assert as_paint(labels, "classes", ignore=255).tolist() == [[1, 2, 0]]


def test_objects_with_one_number_are_said_with_how_many():
    labels = SQUARES.copy()
    labels[labels == 25], labels[labels == 19] = 1, 3
    (doubt,) = said_of(NOISE, labels)
    assert doubt.startswith("2 of 23 objects lie on several separate pieces with one number")


def test_a_speck_beside_an_object_is_no_piece_of_it():
    labels = SQUARES.copy()
    labels[0, 0] = 9
    assert said_of(NOISE, labels) == []


@pytest.mark.parametrize("painted", [False, True])
def test_guessed_axes_of_an_array_file_are_said(tmp_path, painted):
    stack = np.stack([NOISE, NOISE, NOISE, NOISE, NOISE])
    truth = np.stack([SQUARES] * 5) + int(painted)
    np.save(tmp_path / "image.npy", stack)
    np.save(tmp_path / "labels.npy", truth.astype(np.int32))
    source, settings = Source("image", tmp_path / "image.npy", tmp_path / "labels.npy"), checked_settings({})
    job = painted_dataset([painting_from(source, 2)], settings) if painted else read_dataset([source], settings)
    (note,) = [each for each in run_job(job).doubts if "axes" in each]
    assert note.startswith("image")
    assert "they were guessed as ZYX" in note
