"""Likely mix-ups of what was given, found before hours of training: swapped folders, masks, paint, the wrong task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_tessera.bands import middle
from napari_tessera.errors import InputError
from napari_tessera.jobs import Job, Progress
from napari_tessera.labels import CHANGES_OF_IMAGES, changes
from napari_tessera.train.frames import Frame
from napari_tessera.train.paint_like import Ones, doubt_of_paint, ones_in
from napari_tessera.train.settings import Training
from napari_tessera.train.targets import BACKGROUND

MOST_FRAMES = 50
"""Frames that are looked at, evenly spread."""
LARGEST_SIDE_PX = 1024
USUAL_CLASSES = 20
MOST_PIECES = 5
"""Pieces with one number from which on they are taken for objects without numbers of their own."""
CHANGES_OF_LABELS = 0.2
"""Neighbours with different values, of all neighbours above 0, of which labels have less than images have."""
FEWEST_NUMBERS = 20
COMPONENTS = (
    "`tessera threshold MASK -o LABELS --rule manual --low 1 --output objects` numbers what does not touch. For areas "
    'instead of objects, train with the task "classes".'
)
PAINT_EACH = (
    "Of paint, that is 2, 3, 4 and so on (in napari the key M takes the next). For areas instead of objects, take a "
    'U-Net and the task "classes".'
)


@dataclass(frozen=True)
class Look:
    """What a frame looks like.

    Attributes
    ----------
    numbers : int
        Different numbers of objects or classes.
    highest : int
        The highest of them; 0 without any.
    pieces : int
        Connected pieces of all of them together.
    changes, image_changes : float
        Share of neighbours that differ, in labels and image.
    ones : Ones
        How what has the number 1 lies, where objects with numbers from 1 on are expected.
    """

    numbers: int
    highest: int
    pieces: int
    changes: float
    image_changes: float
    ones: Ones


def doubts(frames: Sequence[Frame], settings: Training) -> Job[list[str]]:
    """Look at labels and images, and say what is probably not meant.

    Raises
    ------
    InputError
        If images and labels are swapped, or objects have no numbers of their own.
    """
    looks: list[Look] = []
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).astype(int))
    for done, at in enumerate(chosen):
        yield Progress(done, len(chosen), f"Looking at {frames[at].name}")
        looks.append(look_at(frames[at], settings))
    used = [look for look in looks if look.numbers]
    if not used:
        return []
    of_task = doubt_of_objects(used, settings.painted) if settings.task == "objects" else doubt_of_classes(used)
    found = [doubt_of_labels(used), of_task]
    found.append(doubt_of_paint([look.ones for look in used]))
    return [doubt for doubt in found if doubt]


def look_at(frame: Frame, settings: Training) -> Look:
    """Look at the middle of a frame."""
    part = middle(frame.labels.shape, (LARGEST_SIDE_PX,) * frame.labels.ndim)
    labels, image = frame.labels[part], (frame.image[..., 0] if frame.channels else frame.image)[part]
    counted = frame.labels > (BACKGROUND if settings.painted else 0)
    if settings.ignore is not None:
        counted &= frame.labels != settings.ignore
    numbers = np.unique(frame.labels[counted])
    counted = counted[part]
    seen = np.where(counted, labels, 0)
    is_full = settings.task == "objects" and not settings.painted
    return Look(
        len(numbers),
        int(numbers.max(initial=0)),
        int(ndimage.label(counted, np.ones((3,) * counted.ndim))[1]),
        changes(seen),
        changes(image),
        ones_in(seen) if is_full else Ones(),
    )


def doubt_of_labels(looks: Sequence[Look]) -> str:
    """Say that labels look like images.

    Raises
    ------
    InputError
        If the images look like labels as well.
    """
    usual, numbers = np.median([look.changes for look in looks]), int(np.median([look.numbers for look in looks]))
    if usual <= CHANGES_OF_IMAGES or numbers <= FEWEST_NUMBERS:
        return ""
    said = f"The labels look like images: {numbers} numbers in one, and most pixels have another than the next."
    if np.median([look.image_changes for look in looks]) < CHANGES_OF_LABELS:
        raise InputError(f"{said} The images look like labels. Give the images first, then their labels.")
    return f"{said} Give label images, in which all pixels of an object have one number."


def doubt_of_objects(looks: Sequence[Look], is_painted: bool = False) -> str:
    """Say that objects have no numbers of their own.

    Raises
    ------
    InputError
        If so many pieces have one number that they can hardly be one object.
    """
    pieces = int(np.median([look.pieces for look in looks]))
    if any(look.numbers > 1 for look in looks) or pieces < 2:
        return ""
    said = (
        f"In each label image all pieces, usually {pieces}, have one number, such as {looks[0].highest}: they are one "
        "object. Give each object a number of its own, also where objects touch. "
        f"{PAINT_EACH if is_painted else COMPONENTS}"
    )
    if pieces >= MOST_PIECES:
        raise InputError(said)
    return said


def doubt_of_classes(looks: Sequence[Look]) -> str:
    """Say that there are very many classes."""
    highest = max(look.highest for look in looks)
    if highest <= USUAL_CLASSES:
        return ""
    return (
        f"The labels go up to number {highest}, and each number is a class to tell apart. If each object has a number "
        'of its own, train with the task "objects".'
    )
