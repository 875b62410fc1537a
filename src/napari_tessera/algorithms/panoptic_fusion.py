"""Fuse things (counted objects) and stuff (regions that are not counted) into one panoptic label image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.labels import STUFF, THING, chunks, label_dtype, renumber, unique_in_order
from napari_tessera.core.spec import Table

BACKGROUND = 1
"""Name of the class of pixels that are neither thing nor stuff."""


@dataclass(frozen=True)
class Things:
    """Countable objects.

    `labels` number the N things in raster order of their first pixel, 0 is no thing; `classes`, (N,), are indices in
    `names`, which has also classes that do not occur; `scores` are 0 to 1; `hidden` is the share of each that things of
    higher scores cover, and so is not among its pixels.
    """

    labels: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray | None = None
    hidden: np.ndarray | None = None


@dataclass(frozen=True)
class Stuff:
    """Regions that are not counted: the class of each pixel, 0 background, and the names of classes 1, 2, …."""

    classes: np.ndarray
    names: tuple[str, ...] = ()

    def name(self, number: int) -> str:
        """Return the name of a class."""
        if number == 0:
            return "background"
        return self.names[number - 1] if number <= len(self.names) else f"class {number}"


def things_from_masks(
    masks: Sequence[np.ndarray],
    classes: Sequence[int],
    names: tuple[str, ...],
    scores: Sequence[float] | None = None,
    least_remaining: float = 0.5,
) -> Things:
    """Convert bool masks of one shape, which may overlap, to things that do not.

    The thing with the highest score gets its pixels first; without scores the smallest one does, so that nothing
    vanishes under a larger thing. A thing of whose mask less than the share `least_remaining` remains is dropped, and
    its pixels stay free. Each of `classes` is an index in `names`. (Kirillov et al. 2019, Panoptic segmentation,
    doi:10.1109/CVPR.2019.00963.)

    >>> masks = np.array([[[1, 1, 1, 0, 0]], [[0, 0, 1, 1, 1]], [[0, 1, 1, 0, 0]]], bool)
    >>> things_from_masks(masks, [0, 0, 0], ("cell",), scores=[0.9, 0.8, 0.7]).labels
    array([[1, 1, 1, 2, 2]], dtype=int32)
    """
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    order = np.argsort(areas if scores is None else -np.asarray(scores, float), kind="stable")
    labels = np.zeros(np.shape(masks[0]), label_dtype(len(areas)))
    for place in order:
        free = masks[place] & (labels == 0)
        left = np.count_nonzero(free)
        if left and left >= least_remaining * areas[place]:
            labels[free] = place + 1
    seen = unique_in_order(labels) - 1
    known = None if scores is None else np.asarray(scores, float)[seen]
    return Things(renumber(labels), np.asarray(classes, np.int64)[seen], names, known)


@dataclass(frozen=True)
class Rules:
    """How conflicts are resolved.

    Things are dropped with a score below `min_score`, or of which things of higher scores leave less than the share
    `least_remaining`. A class of stuff with fewer pixels than `smallest_stuff_px` gives them to the nearest remaining
    one.
    """

    min_score: float = 0.0
    least_remaining: float = 0.5
    smallest_stuff_px: int = 0


MOSTLY_COVERED = 0.8
"""If things cover more than this share of a class of stuff, the rest is probably the rims of the things."""


@dataclass(frozen=True)
class Fused:
    """A panoptic segmentation: every pixel is in one segment.

    In `segments`, things are 1…n in raster order, followed by one segment for each class of stuff. In `classes`, 1 is
    background, then come the classes of things, then those of stuff; a class has the same number in every image of one
    kind. `rims` are the remaining pixels, by name, of the classes of stuff that things cover for the most part.
    """

    segments: np.ndarray
    table: Table
    classes: np.ndarray
    class_table: Table
    rims: Mapping[str, int]


def fuse(things: Things, stuff: Stuff, rules: Rules, spacing: tuple[float, ...] | None = None) -> Job[Fused]:
    """Put things over stuff, so that every pixel is in exactly one segment.

    Things win over stuff. Pixels of dropped things get the stuff there; if all stuff is too small, the largest class
    stays. Stuff with the name of a class of things is dropped too, because a class is either counted or not. (Kirillov
    et al. 2019, Panoptic segmentation, doi:10.1109/CVPR.2019.00963.)
    """
    kept = _kept(things, rules)
    kinds = _kinds(things, kept, stuff)
    codes, pixels, covered = yield from subtask(_lay_over(things, stuff, kept, kinds), 0, 1, 3)
    dropped = _dropped(pixels, kinds, rules.smallest_stuff_px, things.names)
    if dropped.any():
        pixels = yield from subtask(_give_to_nearest(codes, dropped, kinds, spacing), 1, 1, 3)
    segments, classes = yield from subtask(_numbered(codes, pixels, kinds), 2, 1, 3)
    rims = _rims(pixels, covered, kinds)
    return Fused(segments, _segment_table(pixels, kinds), classes, _class_table(pixels, kinds), rims)


@dataclass(frozen=True)
class _Kinds:
    """Meaning of each code: 1…n are the kept things, n + 1 + c is the stuff of class c; 0 is nothing."""

    classes: np.ndarray
    names: np.ndarray
    kinds: np.ndarray
    scores: np.ndarray
    first_stuff: int


def _kept(things: Things, rules: Rules) -> np.ndarray:
    """Return which things are kept, (N,) bool."""
    kept = np.ones(len(things.classes), bool)
    if things.scores is not None:
        kept &= things.scores >= rules.min_score
    if things.hidden is not None:
        kept &= 1 - things.hidden >= rules.least_remaining
    return kept


def _kinds(things: Things, kept: np.ndarray, stuff: Stuff) -> _Kinds:
    which = things.classes[kept]
    n_things, n_stuff = len(which), int(stuff.classes.max()) + 1
    beyond = BACKGROUND + len(things.names)
    stuff_classes = [BACKGROUND, *range(beyond + 1, beyond + n_stuff)]
    names = ["", *(things.names[each] for each in which), *(stuff.name(number) for number in range(n_stuff))]
    scores = np.full(len(names), np.nan)
    if things.scores is not None:
        scores[1 : n_things + 1] = things.scores[kept]
    return _Kinds(
        classes=np.array([0, *(BACKGROUND + 1 + which), *stuff_classes], np.int32),
        names=np.array(names),
        kinds=np.array(["", *[THING] * n_things, *[STUFF] * n_stuff]),
        scores=scores,
        first_stuff=n_things + 1,
    )


def _lay_over(
    things: Things, stuff: Stuff, kept: np.ndarray, kinds: _Kinds
) -> Job[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Put things over stuff; return the code of each pixel, the pixels of each code, and how many things cover."""
    dtype = label_dtype(len(kinds.classes))
    numbers = np.append(0, np.where(kept, np.cumsum(kept), 0)).astype(dtype)
    over, under = things.labels.reshape(-1), stuff.classes.reshape(-1)
    codes = np.empty(over.shape, dtype)
    pixels, covered = np.zeros((2, len(kinds.classes)), np.int64)
    for part in chunks(over.size):
        yield Progress(part.start, over.size, "Putting things over stuff")
        here, below = numbers[over[part]], kinds.first_stuff + under[part]
        codes[part] = np.where(here > 0, here, below)
        pixels += np.bincount(codes[part], minlength=len(pixels))
        covered += np.bincount(below[here > 0], minlength=len(pixels))
    return codes.reshape(things.labels.shape), pixels, covered


def _rims(pixels: np.ndarray, covered: np.ndarray, kinds: _Kinds) -> dict[str, int]:
    """Return the remaining pixels of the classes of stuff (without background) that things cover for the most part."""
    stuff = np.arange(kinds.first_stuff + 1, len(pixels))
    is_rim = (pixels[stuff] > 0) & (covered[stuff] >= MOSTLY_COVERED * (covered[stuff] + pixels[stuff]))
    return {str(kinds.names[each]): int(pixels[each]) for each in stuff[is_rim]}


def _dropped(pixels: np.ndarray, kinds: _Kinds, smallest_px: int, thing_names: tuple[str, ...]) -> np.ndarray:
    """Return the codes to drop: small stuff, or stuff with a name of things; the largest of the others is kept."""
    is_stuff = (kinds.kinds == STUFF) & (pixels > 0)
    is_thing = is_stuff & np.isin(kinds.names, thing_names)
    dropped = is_thing | (is_stuff & (pixels < smallest_px))
    left = np.where(is_thing, 0, pixels)[kinds.first_stuff :]
    left = left if left.any() else pixels[kinds.first_stuff :]
    dropped[kinds.first_stuff + left.argmax()] = False
    return dropped


def _give_to_nearest(
    codes: np.ndarray, dropped: np.ndarray, kinds: _Kinds, spacing: tuple[float, ...] | None
) -> Job[np.ndarray]:
    """Assign pixels of dropped stuff to the nearest remaining stuff, in place; return the pixels of each code."""
    from napari_tessera.algorithms.distance_transform import fill_from_nearest

    left_over = np.where(dropped | (kinds.kinds != STUFF), 0, np.arange(len(dropped))).astype(np.int32)
    filled = np.zeros(codes.shape, np.int32)
    flat, flat_filled = codes.reshape(-1), filled.reshape(-1)
    for part in chunks(flat.size):
        yield Progress(part.start, 10 * flat.size, "Dropping small stuff")
        flat_filled[part] = left_over[flat[part]]
    yield from subtask(fill_from_nearest(filled, spacing), 1, 8, 10)
    pixels = np.zeros(len(dropped), np.int64)
    for part in chunks(flat.size):
        yield Progress(9 * flat.size + part.start, 10 * flat.size, "Dropping small stuff")
        flat[part] = np.where(dropped[flat[part]], flat_filled[part], flat[part])
        pixels += np.bincount(flat[part], minlength=len(pixels))
    return pixels


def _numbered(codes: np.ndarray, pixels: np.ndarray, kinds: _Kinds) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Renumber the codes that occur 1…S, in place; return the numbers, and the class of each pixel."""
    numbers = np.cumsum(pixels > 0).astype(codes.dtype)
    classes = np.empty(codes.shape, np.int32)
    flat, flat_classes = codes.reshape(-1), classes.reshape(-1)
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Numbering")
        flat_classes[part] = kinds.classes[flat[part]]
        flat[part] = numbers[flat[part]]
    return codes, classes


def _segment_table(pixels: np.ndarray, kinds: _Kinds) -> Table:
    found = np.flatnonzero(pixels)
    return {
        "label": np.arange(1, len(found) + 1),
        "class": kinds.names[found],
        "kind": kinds.kinds[found],
        "score": kinds.scores[found],
        "num_pixels": pixels[found],
    }


def _class_table(pixels: np.ndarray, kinds: _Kinds) -> Table:
    found = np.flatnonzero(pixels)
    numbers, first, which = np.unique(kinds.classes[found], return_index=True, return_inverse=True)
    return {
        "label": numbers.astype(np.int64),
        "class": kinds.names[found][first],
        "kind": kinds.kinds[found][first],
        "num_pixels": np.bincount(which, pixels[found], len(numbers)).astype(np.int64),
    }
