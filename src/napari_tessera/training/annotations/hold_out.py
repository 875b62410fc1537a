"""Hold out a part of the annotation for validation, with a gap between it and the training part.

For classes, blocks of annotation are held out, and the pixels around them are used for neither. For objects, whole
objects are held out, with the background around them. If there is too little annotation, nothing is held out, and the
result says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from napari_tessera.training.annotations.annotation import AnnotationWindow, Where, numbers_of, object_windows
from napari_tessera.training.annotations.windows import Place, Window, clipped, grown, inside
from napari_tessera.training.data.targets import BACKGROUND, NOT_PAINTED

SIDE_PX = 64
"""Side of a held-out block of annotation."""
GAP_PX = 8
"""Annotation nearer than this to a held-out block is used for neither training nor validation."""
NEAR_PLANES = 2
"""Planes up to this distance are neighbours: what is held out in one is not used for training in the other."""
FEWEST_BLOCKS, FEWEST_OBJECTS = 4, 5
"""With fewer blocks of a class, or fewer objects, nothing is held out."""
LARGEST_SHARE = 2.5
"""If annotation is in large pieces, up to this many times the wanted share of a class may be held out."""
ONE_CLASS = (
    "The annotation has only one class, so there can be no meaningful score: nothing is held out for validation, and "
    "the last weights are kept. Paint background with 1, and each class with its own number."
)
SUFFICIENT_SHARE = 0.75
"""Share of the wanted amount that is enough."""


@dataclass(frozen=True)
class HeldOut:
    """The held-out part of the annotation.

    Attributes
    ----------
    task : {"objects", "classes"}
    zones : mapping of Where to sequence of window
        Where annotation is held out.
    objects : frozenset of (image, number)
        Held-out objects.
    reason : str
        Why nothing is held out, and what to do; empty if something is.
    """

    task: Literal["objects", "classes"]
    zones: Mapping[Where, Sequence[Window]] = field(default_factory=dict)
    objects: frozenset[tuple[int, int]] = frozenset()
    reason: str = ""

    def to_learn(self, paint: AnnotationWindow) -> np.ndarray:
        """Return the labels without the held-out annotation and the annotation near it."""
        if self.task == "objects":
            return np.where(self._of_objects(paint), NOT_PAINTED, paint.labels)
        left = paint.labels.copy()
        gap = paint.pixels(GAP_PX)
        for zone in self._zones_near(paint.where):
            left[_within(grown(zone, gap), paint)] = NOT_PAINTED
        return left

    def to_check(self, paint: AnnotationWindow) -> np.ndarray:
        """Return only the held-out labels."""
        if self.task == "objects":
            return np.where(self._of_objects(paint), paint.labels, NOT_PAINTED)
        held = np.zeros_like(paint.labels)
        for zone in self.zones.get(paint.where, ()):
            window = _within(zone, paint)
            held[window] = paint.labels[window]
        return held

    def _zones_near(self, where: Where) -> Iterator[Window]:
        for (image, place), zones in self.zones.items():
            is_near = all(abs(one - other) <= NEAR_PLANES for one, other in zip(place, where[1], strict=False))
            if image == where[0] and is_near:
                yield from zones

    def _of_objects(self, paint: AnnotationWindow) -> np.ndarray:
        """Mark the held-out objects, and the background around them."""
        held = np.isin(paint.labels, [number for image, number in self.objects if image == paint.where[0]])
        for zone in self._zones_near(paint.where):
            window = _within(zone, paint)
            held[window] |= paint.labels[window] == BACKGROUND
        return held


def _within(window: Window, paint: AnnotationWindow) -> Window:
    return clipped(inside(window, paint.window), paint.labels.shape)


def hold_out(
    paints: Sequence[AnnotationWindow],
    task: Literal["objects", "classes"],
    share: float,
    rng: np.random.Generator,
    diameter_px: float | None = None,
) -> HeldOut:
    """Choose the annotation to hold out for validation.

    Parameters
    ----------
    paints : sequence of AnnotationWindow
        Of all images; their windows do not overlap.
    task : {"objects", "classes"}
    share : float
        About this share of the annotation of each class, or of the objects, is held out. With 0 nothing is held out,
        and the reason says so.
    rng : numpy Generator
    diameter_px : float, optional
        Usual diameter of an object.

    Returns
    -------
    HeldOut
    """
    if share == 0:
        return HeldOut(task, reason="As the settings say, nothing is held out for validation: the last weights stay.")
    if task == "objects":
        return _objects_out(paints, share, rng, diameter_px or 0.0)
    if len(numbers_of(paints)) == 1:
        return HeldOut(task, reason=ONE_CLASS)
    held = _classes_out(paints, share, rng)
    lost = numbers_of(paints) - {number for paint in paints for number in np.unique(held.to_learn(paint)).tolist()}
    return HeldOut(task, reason=_too_little(min(lost), 1)) if lost else held


def _classes_out(paints: Sequence[AnnotationWindow], share: float, rng: np.random.Generator) -> HeldOut:
    blocks, counts = blocks_of_paint(paints)
    numbers = np.flatnonzero(counts.sum(0))
    places = np.count_nonzero(counts, axis=0)
    if scarce := [number for number in numbers.tolist() if places[number] < FEWEST_BLOCKS]:
        return HeldOut("classes", reason=_too_little(scarce[0], int(places[scarce[0]])))
    zones: dict[Where, list[Window]] = {}
    for index in np.flatnonzero(chosen_blocks(counts, share, rng)).tolist():
        where, window = blocks[index]
        zones.setdefault(where, []).append(window)
    return HeldOut("classes", zones)


def _too_little(number: int, places: int) -> str:
    name = "The background (1)" if number == BACKGROUND else f"Class {number}"
    times = "one place" if places == 1 else f"{places} places"
    return (
        f"{name} is painted in {times} only, too few for validation: the training is not validated, and the last "
        f"weights are kept. Paint it in {FEWEST_BLOCKS} places or more that are {SIDE_PX} px apart."
    )


Block = tuple[Where, Window]


def blocks_of_paint(paints: Sequence[AnnotationWindow]) -> tuple[list[Block], np.ndarray]:
    """Cut the annotation into blocks, and count the pixels of each number: the blocks, and (blocks, numbers)."""
    highest = max(numbers_of(paints), default=0)
    counts: dict[tuple[Where, Place], np.ndarray] = {}
    sides: dict[tuple[Where, Place], Place] = {}
    for paint in paints:
        side = paint.pixels(SIDE_PX)
        at = np.argwhere(paint.labels != NOT_PAINTED)
        numbers = paint.labels[tuple(at.T)]
        from_origin = at + [part.start - start for part, start in zip(paint.window, paint.origin, strict=True)]
        corners, which = np.unique(from_origin // side * side + paint.origin, axis=0, return_inverse=True)
        both = np.bincount(which.ravel() * (highest + 1) + numbers, minlength=len(corners) * (highest + 1))
        for corner, row in zip(corners.tolist(), both.reshape(len(corners), -1), strict=True):
            block = (paint.where, tuple(corner))
            sides[block] = side
            counts[block] = counts.get(block, 0) + row
    blocks = [(where, _window_from(corner, sides[where, corner])) for where, corner in counts]
    return blocks, np.array(list(counts.values())).reshape(len(blocks), highest + 1)


def _window_from(corner: Place, sides: Place) -> Window:
    return tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))


def chosen_blocks(counts: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose blocks until they contain about `share` of the pixels of each number, the rarest number first.

    Parameters
    ----------
    counts : (blocks, numbers) array
        Pixels of each number in each block.

    Returns
    -------
    (blocks,) array of bool
    """
    total = counts.sum(0)
    chosen = np.zeros(len(counts), dtype=bool)
    for number in np.argsort(total, kind="stable"):
        for block in rng.permutation(np.flatnonzero(counts[:, number])):
            held = counts[chosen].sum(0)
            if held[number] >= SUFFICIENT_SHARE * share * total[number]:
                break
            chosen[block] |= bool((held + counts[block] <= LARGEST_SHARE * share * total).all())
    return chosen


def _objects_out(
    paints: Sequence[AnnotationWindow], share: float, rng: np.random.Generator, diameter_px: float
) -> HeldOut:
    found = object_windows(paints)
    names = sorted({name for name, _ in found})
    if len(names) < FEWEST_OBJECTS:
        objects = "One object is" if len(names) == 1 else f"{len(names)} objects are"
        return HeldOut(
            "objects",
            reason=f"{objects} painted, too few for validation: the training is not validated, and the last weights "
            f"are kept. Paint {FEWEST_OBJECTS} objects or more.",
        )
    count = max(1, round(share * len(names)))
    held = frozenset(names[index] for index in rng.permutation(len(names))[:count].tolist())
    zones: dict[Where, list[Window]] = {}
    for name, (paint, window) in found:
        if name in held:
            margin = paint.pixels(max(GAP_PX, diameter_px / 2))
            zones.setdefault(paint.where, []).append(grown(window, margin))
    return HeldOut("objects", zones, held)
