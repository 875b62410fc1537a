"""Examples from paint: the windows around it, what of it is learnt, and what is held back to validate on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from napari_tessera.door import canonical_dtype
from napari_tessera.errors import InputError
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.nn.intensity import Levels
from napari_tessera.train.examples import PLACES_PER_CLASS, Example, centres, has_few_strokes
from napari_tessera.train.held_out import HeldOut, hold_out
from napari_tessera.train.paint import Paint, Where, counted
from napari_tessera.train.paint_regions import Window, clipped, grown, inside, read_window, shifted, smallest_window
from napari_tessera.train.painting import (
    Lessons,
    Painting,
    check_painted,
    checked_paint,
    read_paint,
    renumbered,
    sizes_of,
    usual_diameters,
)
from napari_tessera.train.targets import BACKGROUND, NOT_PAINTED
from napari_tessera.train.telling import says_nothing

PATCHES_AROUND = 0.75
"""What is read around paint, in sides of a patch: enough for a patch that is turned and has its edge at the paint."""


@dataclass(frozen=True)
class FromPaint:
    """What was found.

    Attributes
    ----------
    learn, check : list of Example
    pixels : mapping of int to int
        Painted pixels of each number, in all images together.
    reason : str
        Why nothing is held back to validate on; empty where something is.
    everything : list of Example
        See `dataset.Dataset`.
    """

    learn: list[Example]
    check: list[Example]
    pixels: Mapping[int, int]
    reason: str = ""
    everything: Sequence[Example] = ()


def painted_examples(paintings: Sequence[Painting], lessons: Lessons) -> Job[FromPaint]:
    """Read the windows around paint, and divide the paint into what is learnt and what is held back.

    Raises
    ------
    InputError
        If nothing is painted, or the paint holds numbers that cannot be.
    """
    paints, numbers = yield from part_of(read_paint(paintings, lessons), 0, 1, 3)
    diameters = usual_diameters(paints, lessons)
    of_learning = [paint for paint in paints if not paintings[paint.where[0]].is_check]
    check_painted(of_learning)
    wanted = 0 if any(painting.is_check for painting in paintings) else lessons.share
    usual = max((each for each in diameters.values() if each), default=None)
    held = hold_out(of_learning, lessons.task, wanted, np.random.default_rng(lessons.seed), usual)
    reader = Reader(paintings, lessons, numbers, diameters, sizes_of(paints, lessons), held)
    learn = yield from part_of(reader.to_learn(of_learning), 1, 1, 3)
    check = yield from part_of(reader.to_check(paints), 2, 1, 3)
    pixels = dict(counted(paints))
    if reason := says_nothing(check, lessons.task):
        return FromPaint(learn, [], pixels, reason)
    everything: list[Example] = []
    if held.zones and lessons.task == "classes" and has_few_strokes(learn):
        whole = replace(reader, held=HeldOut("classes"))
        everything = yield from part_of(whole.to_learn(of_learning), 3, 0, 3)
    return FromPaint(learn, check, pixels, "" if check else held.reason, everything)


@dataclass(frozen=True)
class Reader:
    """Reads the windows of images around their paint; each window once."""

    paintings: Sequence[Painting]
    lessons: Lessons
    numbers: Mapping[int, np.ndarray]
    diameters: Mapping[int, float | None]
    sizes: Mapping[Where, np.ndarray]
    held: HeldOut
    levels: dict[Where, Levels] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)

    def to_learn(self, paints: Sequence[Paint]) -> Job[list[Example]]:
        """Return windows with what is to be learnt, and the places where patches are drawn."""
        own = [self.held.to_learn(paint) for paint in paints]
        totals = counted([replace(paint, labels=labels) for paint, labels in zip(paints, own, strict=True)])
        examples = []
        for done, (paint, labels) in enumerate(zip(paints, own, strict=True)):
            yield Progress(done, len(paints), "Reading around the paint")
            if not labels.any():
                continue
            window = grown(paint.window, self.margins(paint))
            whole = self.paint_in(paint, window)
            places = places_of(labels, totals, self.lessons.task) + [
                part.start - outer.start for part, outer in zip(paint.window, window, strict=True)
            ]
            of_classes = np.bincount(labels.ravel(), minlength=len(self.sizes[paint.where]))
            sizes = of_classes if self.lessons.task == "classes" else self.sizes[paint.where]
            examples.append((yield from self.example(paint, window, self.held.to_learn(whole), places, sizes)))
        return examples

    def to_check(self, paints: Sequence[Paint]) -> Job[list[Example]]:
        """Return windows around what is held back."""
        examples = []
        for done, paint in enumerate(paints):
            yield Progress(done, len(paints), "Reading around what is held back")
            is_check = self.paintings[paint.where[0]].is_check
            held = paint.labels if is_check else self.held.to_check(paint)
            around = smallest_window(held)
            if around is None:
                continue
            core = shifted(around, paint.window)
            window = clipped(grown(core, self.margins(paint)), self.shape_of(paint.where))
            labels = np.zeros([part.stop - part.start for part in window], np.int32)
            labels[inside(core, window)] = held[around]
            nowhere = np.empty((0, self.lessons.ndim))
            examples.append((yield from self.example(paint, window, labels, nowhere, self.sizes[paint.where])))
        return examples

    def margins(self, paint: Paint) -> tuple[int, ...]:
        """Return how much is read around paint, in pixels along each axis."""
        usual, wanted = self.diameters.get(paint.where[0]), self.lessons.diameter_px
        factor = wanted / usual if usual and wanted else 1.0
        return paint.pixels(PATCHES_AROUND * self.lessons.patch_px / factor)

    def shape_of(self, where: Where) -> tuple[int, ...]:
        """Return the shape of a plane or volume."""
        return tuple(self.paintings[where[0]].paint.shape[len(where[1]) :])

    def paint_in(self, paint: Paint, window: Window) -> Paint:
        """Read all paint in a window that may reach beyond the image."""
        painting = self.paintings[paint.where[0]]
        labels = checked_paint(
            read_window(painting.paint, paint.where[1], window, "constant"), painting.name, self.lessons
        )
        return replace(paint, window=window, labels=renumbered(labels, self.numbers[paint.where[0]]))

    def example(
        self, paint: Paint, window: Window, labels: np.ndarray, places: np.ndarray, sizes: np.ndarray
    ) -> Job[Example]:
        """Read the image in a window, and put it together with its labels."""
        index, place = paint.where
        painting = self.paintings[index]
        if paint.where not in self.levels:
            self.levels[paint.where] = yield from painting.measure(place, self.lessons.kind)
        key = f"{paint.where} {window}"
        if key not in self.images:
            image = read_window(painting.image, place, window)
            if not np.isfinite(image).all():
                raise InputError(f"{painting.name} holds NaN or infinity. Replace them, or leave the image out.")
            self.images[key] = image.astype(canonical_dtype(image.dtype), copy=False)
        return Example(
            self.images[key],
            labels,
            self.levels[paint.where],
            sizes * paint.anisotropy,
            places,
            self.diameters.get(index),
            name=f"{painting.name}{''.join(f' {each}' for each in place)}",
            anisotropy=paint.anisotropy,
            is_window=True,
        )


def places_of(labels: np.ndarray, totals: Counter[int], task: Literal["objects", "classes"]) -> np.ndarray:
    """Choose the places of a window around which patches are drawn: float64 (N, ndim), in its pixels.

    Of each class there are equally many in all windows together, of objects their centres, and as many of background.
    """
    rng = np.random.default_rng(0)
    found = [centres(labels)] if task == "objects" else []
    objects = sum(number > BACKGROUND for number in totals)
    numbers = [BACKGROUND] if task == "objects" else np.unique(labels[labels > NOT_PAINTED]).tolist()
    for number in numbers:
        at = np.argwhere(labels == number)
        wanted = objects if task == "objects" else PLACES_PER_CLASS
        count = int(np.ceil(wanted * len(at) / max(1, totals[number])))
        found.append(rng.permutation(at)[:count])
    return np.concatenate([each.astype(np.float64) for each in found])
