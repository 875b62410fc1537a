"""The training dataset: all images, read and measured, and a digest that identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_tessera.core.checks import canonical_dtype
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.provenance import described
from napari_tessera.inference.normalization import Kind
from napari_tessera.training.data.advice import why_not_validated
from napari_tessera.training.data.checks import doubts
from napari_tessera.training.data.example import Example, as_paint, class_example, object_example
from napari_tessera.training.data.saturation import advice_on_images
from napari_tessera.training.data.sources import TRAIN, VALIDATION, Frame, Source, kind_of_images, read_frames
from napari_tessera.training.data.targets import BACKGROUND
from napari_tessera.training.settings import Training


@dataclass(frozen=True)
class Dataset:
    """The training and validation data.

    Attributes
    ----------
    learn, check : list of Example
        For training, and for choosing the best weights.
    kind, n_channels
        See `inference.normalization`.
    n_classes : int
        Classes of pixels, background included.
    digest : str
        SHA-256 over names, splits, pixels and labels.
    doubts : sequence of str
        Notes on likely mistakes; see `checks.doubts`.
    everything : list of Example
        For classes with few strokes, the training and validation data together; empty if nothing is held out.
    """

    learn: list[Example]
    check: list[Example]
    kind: Kind
    n_channels: int
    n_classes: int
    digest: str
    doubts: Sequence[str] = ()
    everything: Sequence[Example] = ()

    @property
    def names(self) -> dict[str, list[str]]:
        """Names of the images by split, each once."""
        return {
            TRAIN: list(dict.fromkeys(each.name for each in self.learn)),
            VALIDATION: list(dict.fromkeys(each.name for each in self.check)),
        }


def read_dataset(sources: Sequence[Source], settings: Training) -> Job[Dataset]:
    """Read, check and measure all images.

    Raises
    ------
    FileError, InputError
        If a file cannot be read or does not match the others, or there is nothing to learn.
    """
    frames = yield from subtask(read_frames(sources, settings.ndim, settings.validation), 0, 0.8, 2)
    doubted = yield from subtask(doubts(frames, settings), 0.8, 0.2, 2)
    kind, n_channels = kind_of_images(frames)
    by_split: dict[str, list[Example]] = {TRAIN: [], VALIDATION: []}
    hashing = hashlib.sha256()
    for done, frame in enumerate(frames):
        yield Progress(1 + done / len(frames), 2, f"Measuring {frame.name}")
        example = example_of(frame, kind, settings)
        by_split[frame.split].append(example)
        for array in (example.image, example.labels):
            record = yield from subtask(described(array), 1 + done / len(frames), 0, 2)
            hashing.update(repr((frame.name, frame.split, frame.group, frame.anisotropy, *record.values())).encode())
    check_something_to_learn(by_split[TRAIN])
    highest = max(len(example.sizes) for examples in by_split.values() for example in examples) - 1
    said = [*doubted, *(each.text for each in advice_on_images(by_split[TRAIN]))]
    check = by_split[VALIDATION]
    if reason := why_not_validated(check, settings.task):
        check, said = [], [*said, reason]
    return Dataset(by_split[TRAIN], check, kind, n_channels, highest, hashing.hexdigest(), said)


def example_of(frame: Frame, kind: Kind, settings: Training) -> Example:
    """Convert the labels of a frame to annotation, and measure it."""
    if not np.isfinite(frame.image).all():
        raise InputError(f"{frame.name} holds NaN or infinity. Replace them, or leave the image out.")
    try:
        paint = as_paint(frame.labels, settings.task, is_paint=settings.painted, ignore=settings.ignore)
    except InputError as error:
        raise InputError(f"{frame.name}: {error}") from error
    make = object_example if settings.task == "objects" else class_example
    image = frame.image.astype(canonical_dtype(frame.image.dtype), copy=False)
    return make(image, paint, frame.group, frame.name, kind=kind, anisotropy=frame.anisotropy)


def check_something_to_learn(examples: Sequence[Example]) -> None:
    """Refuse images without an object or a class other than background.

    Raises
    ------
    InputError
    """
    if not examples:
        raise InputError("All images are held out for validation, so nothing is left for training. Give more images.")
    if not any(len(example.sizes) > BACKGROUND + 1 for example in examples):
        raise InputError(
            "The labels have only background. Objects and classes are numbered from 1 (in annotation from 2, where 1 "
            "is background)."
        )
