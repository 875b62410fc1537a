"""The training dataset: all images, read and measured, and a digest that identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy

from napari_tessera.core.checks import canonical_dtype
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, middle, subtask
from napari_tessera.core.labels import CHANGES_OF_IMAGES, changes, numbers_in_pieces, pieces_of
from napari_tessera.core.result import describe_array
from napari_tessera.core.valid_area import filled, find_fill
from napari_tessera.inference.normalization import Kind, measure_levels
from napari_tessera.training.data.advice import advice_on_images, why_not_validated
from napari_tessera.training.data.example import (
    BACKGROUND,
    NOT_PAINTED,
    Example,
    Frame,
    as_paint,
    class_example,
    kind_of_images,
    left_out_note,
    object_example,
    some_notes,
)
from napari_tessera.training.data.sources import TRAIN, VALIDATION, Source, read_frames
from napari_tessera.training.settings import Training


@dataclass(frozen=True)
class Dataset:
    """The training and validation data."""

    learn: list[Example]  # for training
    check: list[Example]  # for choosing the best weights
    kind: Kind  # see `inference.normalization`
    n_channels: int
    n_classes: int  # classes of pixels, background included
    digest: str  # SHA-256 over names, splits, pixels and labels
    doubts: Sequence[str] = ()  # notes on likely mistakes; see `doubts`
    everything: Sequence[Example] = ()
    """For classes with few strokes, the training and validation data together; empty if nothing is held out."""

    @property
    def names(self) -> dict[str, list[str]]:
        """Names of the images by split, each once."""
        return {
            TRAIN: list(dict.fromkeys(each.name for each in self.learn)),
            VALIDATION: list(dict.fromkeys(each.name for each in self.check)),
        }


def size_of(examples: Sequence[Example], task: Literal["objects", "classes"]) -> dict[str, int]:
    """Return how many objects, or annotated pixels of classes, examples have; without examples, nothing."""
    if not examples:
        return {}
    if task == "classes":
        return {"pixels": sum(int(np.count_nonzero(each.labels)) for each in examples)}
    numbers = {(each.name, number) for each in examples for number in np.unique(each.labels[each.labels > BACKGROUND])}
    return {"objects": len(numbers)}


def read_dataset(sources: Sequence[Source], settings: Training) -> Job[Dataset]:
    """Read, check and measure all images.

    A FileError or InputError says that a file cannot be read or does not match the others, or there is nothing to
    learn.
    """
    frames = yield from subtask(read_frames(sources, settings.ndim, settings.validation), 0, 0.8, 2)
    doubted = yield from subtask(doubts(frames, settings), 0.8, 0.2, 2)
    kind, n_channels = kind_of_images(frames)
    by_split: dict[str, list[Example]] = {TRAIN: [], VALIDATION: []}
    hashing = hashlib.sha256()
    left_out, notes = list[str](), dict[str, str]()
    for done, frame in enumerate(frames):
        yield Progress(1 + done / len(frames), 2, f"Measuring {frame.name}")
        example, note = example_of(frame, kind, settings)
        left_out += [note] if note else []
        notes |= {note: frame.name for note in frame.notes if note not in notes}
        by_split[frame.split].append(example)
        for array in (example.image, example.labels):
            record = yield from subtask(describe_array(array), 1 + done / len(frames), 0, 2)
            hashing.update(repr((frame.name, frame.split, frame.group, frame.anisotropy, *record.values())).encode())
    check_something_to_learn(by_split[TRAIN])
    if settings.task == "classes":
        by_split = with_one_polarity(by_split)
    highest = max(len(example.sizes) for examples in by_split.values() for example in examples) - 1
    said = [*(f"{name}: {note}" for note, name in notes.items()), *doubted, *some_notes(left_out)]
    said += [each.text for each in advice_on_images(by_split[TRAIN])]
    check = by_split[VALIDATION]
    if reason := why_not_validated(check, settings.task):
        check, said = [], [*said, reason]
    return Dataset(by_split[TRAIN], check, kind, n_channels, highest, hashing.hexdigest(), said)


def with_one_polarity(examples: Mapping[str, Sequence[Example]]) -> dict[str, list[Example]]:
    """Let all images be turned, or none, as most of those in the training are.

    Classes are what they are whichever is brighter; which it is, is uncertain where no class is the ground.
    """
    turned = [each.levels.inverted for each in examples[TRAIN]]
    inverted = 2 * sum(turned) > len(turned)
    return {
        name: [replace(each, levels=replace(each.levels, inverted=inverted)) for each in split]
        for name, split in examples.items()
    }


def example_of(frame: Frame, kind: Kind, settings: Training) -> tuple[Example, str]:
    """Convert the labels of a frame to annotation, and measure it; return a note on what is no image, too."""
    image, axis = frame.image, frame.image.ndim - 1 if frame.channels else None
    fill = find_fill(image, axis, may_be_transparent=True)
    valid = None if fill is None else fill.valid(image, axis)
    levels = None
    if fill is not None and valid is not None:
        if not valid.any():
            raise InputError(f"{frame.name} has no image: {fill.amount(1)}. Leave it out.")
        levels = measure_levels(image[valid], kind)
        image = filled(image, valid, axis, fill.typical)
    try:
        paint = as_paint(frame.labels, settings.task, is_paint=settings.painted, ignore=settings.ignore)
    except InputError as error:
        raise InputError(f"{frame.name}: {error}") from error
    if valid is not None:
        paint = np.where(valid, paint, NOT_PAINTED)
    make = object_example if settings.task == "objects" else class_example
    image = image.astype(canonical_dtype(image.dtype), copy=False)
    example = make(image, paint, frame.group, frame.name, kind=kind, anisotropy=frame.anisotropy, levels=levels)
    if valid is None:
        return example, ""
    return replace(example, has_fill=True), left_out_note(frame.name, fill, valid)


def check_something_to_learn(examples: Sequence[Example]) -> None:
    """Refuse images without an object or a class other than background."""
    if not examples:
        raise InputError("All images are held out for validation, so nothing is left for training. Give more images.")
    if not any(len(example.sizes) > BACKGROUND + 1 for example in examples):
        raise InputError(
            "The labels have only background. Objects and classes are numbered from 1 (in annotation from 2, where 1 "
            "is background)."
        )


FEWEST_OTHERS = 3
"""Least numbers of other labels, and of others around or beside the number 1, for a note."""
FEWEST_PIECES = 3
LARGE_SHARE = 0.05
"""A piece with a smaller share of its label is ignored as a mistake."""
MOST_IN_PIECES = 0.1
"""Largest share of the other labels in several pieces: if more are, all objects look like that."""
MOST_OFTEN = 0.5
"""Share of the label images in which the number 1 must look like background."""


@dataclass(frozen=True)
class LabelOneStatistics:
    """How the number 1 lies among the other numbers of a label image."""

    pieces: int = 0  # of the number 1
    others: int = 0  # other labels
    others_in_pieces: int = 0  # those with several pieces
    around: int = 0  # others inside it, or that touch it and nothing else

    @property
    def is_scattered(self) -> bool:
        """Whether it has several pieces, like strokes."""
        return self.pieces >= FEWEST_PIECES

    @property
    def is_like_paint(self) -> bool:
        """Whether it has several pieces or lies around the others, which have one piece each."""
        is_around = self.around >= max(FEWEST_OTHERS, self.others / 2)
        are_whole = self.others >= FEWEST_OTHERS and self.others_in_pieces <= MOST_IN_PIECES * self.others
        return are_whole and (self.is_scattered or is_around)


def ones_in(labels: np.ndarray) -> LabelOneStatistics:
    """Measure how the number 1 lies."""
    if not (labels == BACKGROUND).any():
        return LabelOneStatistics()
    pieces = pieces_of(labels, LARGE_SHARE)
    others = [count for number, count in pieces.items() if number != BACKGROUND]
    return LabelOneStatistics(
        pieces[BACKGROUND],
        len(others),
        sum(count > 1 for count in others),
        len(enclosed_labels(labels) | touching_labels(labels)),
    )


def enclosed_labels(labels: np.ndarray) -> set[int]:
    """Return the numbers that the number 1 encloses."""
    enclosed = scipy.ndimage.binary_fill_holes(labels == BACKGROUND) & (labels > BACKGROUND)
    return set(np.unique(labels[enclosed]).tolist())


def touching_labels(labels: np.ndarray) -> set[int]:
    """Return the numbers that touch the number 1, and nothing else.

    Examples
    --------
    >>> touching_labels(np.array([[2, 1, 3, 4]]))
    {2}
    """
    near_one: set[int] = set()
    near_others: set[int] = set()
    for axis in range(labels.ndim):
        along = np.moveaxis(labels, axis, 0)
        low, high = np.minimum(along[:-1], along[1:]), np.maximum(along[:-1], along[1:])
        near_one |= set(np.unique(high[(low == BACKGROUND) & (high > BACKGROUND)]).tolist())
        touching = (low > BACKGROUND) & (low != high)
        near_others |= set(np.unique(low[touching]).tolist()) | set(np.unique(high[touching]).tolist())
    return near_one - near_others


def doubt_of_paint(statistics: Sequence[LabelOneStatistics]) -> str:
    """Return a note if most full labels look like sparse annotation; otherwise ""."""
    found = [each for each in statistics if each.is_like_paint]
    if len(found) <= MOST_OFTEN * len(statistics):
        return ""
    first = found[0]
    where = f"in {first.pieces} pieces" if first.is_scattered else f"around {first.around} of {first.others} others"
    return (
        f"The labels look like annotation: the number 1 lies {where}, and the others are in one piece each. If they "
        "are, so that 0 is not annotated and 1 is background, add --painted (in Python painted=True, or use "
        "tessera.fine_tune): without it, 0 is learnt as background, and the number 1 as an object."
    )


MOST_FRAMES = 50
"""Frames to check, evenly spaced."""
LARGEST_SIDE_PX = 1024
USUAL_CLASSES = 20
MOST_PIECES = 5
"""From this number of pieces with one number on, they are probably separate objects."""
CHANGES_OF_LABELS = 0.2
"""Share of neighbours (above 0) that differ; labels have less, images have more."""
FEWEST_NUMBERS = 20
COMPONENTS = (
    "`tessera threshold MASK -o LABELS --method manual --low 1 --output objects` numbers the separate pieces. For "
    'areas instead of objects, train with the task "classes".'
)
PAINT_EACH = (
    "In annotation, use 2, 3, 4 and so on (in napari the key M selects the next). For areas instead of objects, choose "
    'a U-Net and the task "classes".'
)


@dataclass(frozen=True)
class LabelStatistics:
    """Statistics of a frame's labels and image."""

    numbers: int  # different numbers of objects or classes
    highest: int  # the highest of them; 0 without any
    pieces: int  # connected pieces of all of them together
    changes: float  # share of neighbours in the labels that differ
    image_changes: float  # the same in the image
    in_pieces: int  # numbers of objects that lie on several separate large pieces
    ones: LabelOneStatistics  # how the number 1 lies, if objects with numbers from 1 on are expected


def doubts(frames: Sequence[Frame], settings: Training) -> Job[list[str]]:
    """Check labels and images, and return notes on likely mistakes.

    An InputError says that images and labels are swapped, or objects do not have their own numbers.
    """
    statistics: list[LabelStatistics] = []
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).astype(int))
    for done, at in enumerate(chosen):
        yield Progress(done, len(chosen), f"Looking at {frames[at].name}")
        statistics.append(statistics_of(frames[at], settings))
    used = [each for each in statistics if each.numbers]
    if not used:
        return []
    of_task = doubt_of_objects(used, settings.painted) if settings.task == "objects" else doubt_of_classes(used)
    found = [doubt_of_labels(used), of_task]
    found.append(doubt_of_paint([each.ones for each in used]))
    if not any(found):
        found = [doubt_of_pieces(used)]
    return [doubt for doubt in found if doubt]


def statistics_of(frame: Frame, settings: Training) -> LabelStatistics:
    """Measure the middle of a frame."""
    part = middle(frame.labels.shape, (LARGEST_SIDE_PX,) * frame.labels.ndim)
    labels, image = frame.labels[part], (frame.image[..., 0] if frame.channels else frame.image)[part]
    counted = frame.labels > (BACKGROUND if settings.painted else 0)
    if settings.ignore is not None:
        counted &= frame.labels != settings.ignore
    numbers = np.unique(frame.labels[counted])
    counted = counted[part]
    seen = np.where(counted, labels, 0)
    is_full = settings.task == "objects" and not settings.painted
    return LabelStatistics(
        len(numbers),
        int(numbers.max(initial=0)),
        int(scipy.ndimage.label(counted, np.ones((3,) * counted.ndim))[1]),
        changes(seen),
        changes(image),
        len(numbers_in_pieces(seen)) if settings.task == "objects" else 0,
        ones_in(seen) if is_full else LabelOneStatistics(),
    )


def doubt_of_labels(statistics: Sequence[LabelStatistics]) -> str:
    """Return a note if labels look like images; refuse them if the images look like labels as well."""
    usual = np.median([each.changes for each in statistics])
    numbers = int(np.median([each.numbers for each in statistics]))
    if usual <= CHANGES_OF_IMAGES or numbers <= FEWEST_NUMBERS:
        return ""
    said = f"The labels look like images: one has {numbers} numbers, and most pixels differ from the next."
    if np.median([each.image_changes for each in statistics]) < CHANGES_OF_LABELS:
        raise InputError(f"{said} The images look like labels. Give the images first, then their labels.")
    return f"{said} Give label images, in which all pixels of an object have one number."


def doubt_of_objects(statistics: Sequence[LabelStatistics], is_painted: bool = False) -> str:
    """Return a note if objects do not have their own numbers; refuse too many pieces to be one object."""
    pieces = int(np.median([each.pieces for each in statistics]))
    if any(each.numbers > 1 for each in statistics) or pieces < 2:
        return ""
    said = (
        f"In each label image all pieces, usually {pieces}, have one number, such as {statistics[0].highest}: they are "
        "one object. Give each object its own number, also where objects touch. "
        f"{PAINT_EACH if is_painted else COMPONENTS}"
    )
    if pieces >= MOST_PIECES:
        raise InputError(said)
    return said


def doubt_of_pieces(statistics: Sequence[LabelStatistics]) -> str:
    """Return a note if numbers of objects lie on several separate pieces, unless all pieces have one number."""
    count = sum(each.in_pieces for each in statistics)
    total = sum(each.numbers for each in statistics)
    if not count or all(each.numbers == 1 for each in statistics):
        return ""
    return (
        f"{count} of {total} objects {'lies' if count == 1 else 'lie'} on several separate pieces with one number, and "
        "each is learnt as one object. If the pieces are objects, give each its own number."
    )


def doubt_of_classes(statistics: Sequence[LabelStatistics]) -> str:
    """Return a note if there are very many classes."""
    highest = max(each.highest for each in statistics)
    if highest <= USUAL_CLASSES:
        return ""
    return (
        f"The labels have numbers up to {highest}, and each number is a class. If each object has its own "
        'number, train with the task "objects".'
    )
