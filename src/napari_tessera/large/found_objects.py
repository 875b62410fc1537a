"""From the detections of a plane to numbered objects, and a table that says what each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.bands import Piece, in_background, in_threads, pieces
from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.dropping import only
from napari_tessera.kernels.numbering import numbered
from napari_tessera.nn.detected_objects import TRACE, Acceptance, LeftOut, PaintedObjects, accepted, painted

if TYPE_CHECKING:
    from napari_tessera.nn.detections import Detections

FACES = 1
"""Pixels of an object hang together across their faces."""


@dataclass(frozen=True)
class Rows:
    """What is known of N objects, in the order of their labels.

    Attributes
    ----------
    classes, scores : (N,) array
        Number of the class, from 1; score.
    low, high : (N, ndim) array
        Where the box begins and ends along ([z,] y, x), px.
    claimed_px, lost_px : (N,) array
        Pixels of the whole mask, and of these, those of objects of higher scores.
    """

    classes: np.ndarray
    scores: np.ndarray
    low: np.ndarray
    high: np.ndarray
    claimed_px: np.ndarray
    lost_px: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts below each other."""
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(part).values() for part in parts), strict=True)))

    def chosen(self, which: np.ndarray) -> Rows:
        """Return the rows with these indices, in this order."""
        return Rows(*(column[which] for column in vars(self).values()))


def objects_of(
    found: Detections, shape: tuple[int, ...], how: Acceptance, is_aligned: bool, min_size: int
) -> Job[tuple[np.ndarray, Rows, LeftOut]]:
    """Make objects of detections: choose, paint, keep the largest piece of each, number.

    Parameters
    ----------
    found : Detections
        Highest score first, in pixels of the image.
    shape : (Y, X)
    how : Acceptance
    is_aligned : bool
        Whether masks are stretched over their boxes to a fraction of a pixel.
    min_size : int
        Objects of fewer pixels are dropped.

    Returns
    -------
    labels : int32 array (Y, X)
        0 background, 1…N in raster order.
    rows : Rows
    left : LeftOut
    """
    chosen, left = accepted(found, how)
    work = partial(painted, chosen, shape, how, is_aligned)
    objects, covered = yield from part_of(in_background(work, "Painting objects"), 0, 4, 10)
    count = len(objects.scores)
    yield from part_of(keep_largest_pieces(objects.labels, count), 4, 4, 10)
    labels = yield from part_of(numbered(objects.labels, np.arange(count + 1), min_size), 8, 1, 10)
    order = yield from part_of(former_numbers(objects.labels, labels), 9, 0.5, 10)
    small = LeftOut(small=count - len(order) if min_size else 0)
    labels, rows = yield from part_of(best_of(labels, _rows(objects).chosen(order - 1), how.most), 9.5, 0.5, 10)
    overlaps = rows.lost_px > TRACE * rows.claimed_px
    told = LeftOut(
        surplus=len(order) - len(rows.scores),
        overlapping=int(overlaps.sum()),
        shared_px=int(rows.lost_px[overlaps].sum()),
    )
    return labels, rows, left + covered + small + told


def best_of(labels: np.ndarray, rows: Rows, most: int | None) -> Job[tuple[np.ndarray, Rows]]:
    """Keep the objects of the highest scores; of equal ones, the first.

    They are chosen last of all: what was dropped for another reason does not take the place of an object, and no pixel
    of theirs ever belonged to an object of a lower score.

    Parameters
    ----------
    labels : int32 array (Y, X)
        0 background, 1…N; changed in place.
    rows : Rows
    most : int or None
    """
    if most is None or len(rows.scores) <= most:
        return labels, rows
    kept = np.sort(np.argsort(-rows.scores, kind="stable")[:most])
    is_kept = np.zeros(1 + len(rows.scores), bool)
    is_kept[1 + kept] = True
    return (yield from only(labels, is_kept)), rows.chosen(kept)


def _rows(objects: PaintedObjects) -> Rows:
    x0, y0, x1, y1 = objects.boxes.T
    low, high = np.stack([y0, x0], axis=1), np.stack([y1, x1], axis=1)
    return Rows(objects.classes, objects.scores, low, high, objects.claimed_px, objects.lost_px)


def keep_largest_pieces(labels: np.ndarray, count: int) -> Job[None]:
    """Take away, in place, all but the largest connected piece of each object; of equal ones, the first stays.

    Parameters
    ----------
    labels : int32 array (Y, X)
    count : int
        Largest number of an object.
    """
    from skimage.measure import label

    finding = in_background(partial(label, labels, connectivity=FACES), "Finding pieces")
    parts = yield from part_of(finding, 0, 6, 10)
    owners, pixels = yield from part_of(_owners_and_pixels(parts, labels), 6, 2, 10)
    order = np.lexsort((-np.arange(len(pixels)), pixels))  # the largest, of equals the first, comes last
    largest = np.zeros(count + 1, np.int64)
    largest[owners[order]] = order
    is_kept = largest[owners] == np.arange(len(owners))

    def take_away(piece: Piece) -> None:
        labels[piece][~is_kept[parts[piece]]] = 0

    yield from part_of(in_threads(take_away, pieces(labels.shape), "Finding pieces"), 8, 2, 10)


def _owners_and_pixels(parts: np.ndarray, labels: np.ndarray) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Say of each part, and of the background at 0, which object it belongs to and how many pixels it has."""
    cut = pieces(parts.shape)
    count = 1 + max((yield from part_of(in_threads(lambda piece: int(parts[piece].max()), cut), 0, 1, 2)))
    owners = np.zeros(count, np.int64)

    def look(piece: Piece) -> np.ndarray:
        owners[parts[piece]] = labels[piece]
        return np.bincount(parts[piece].reshape(-1), minlength=count)

    counts = yield from part_of(in_threads(look, cut, "Finding pieces"), 1, 1, 2)
    return owners, np.sum(counts, axis=0)


def former_numbers(former: np.ndarray, labels: np.ndarray) -> Job[np.ndarray]:
    """Say which number each object had before it was numbered anew.

    Parameters
    ----------
    former, labels : integer array (Y, X)
        Labels before and after; after, 1…N without gaps.

    Returns
    -------
    (N,) array
    """
    cut = pieces(labels.shape)
    count = 1 + max((yield from part_of(in_threads(lambda piece: int(labels[piece].max()), cut), 0, 1, 2)))
    numbers = np.zeros(count, np.int64)

    def look(piece: Piece) -> None:
        numbers[labels[piece]] = former[piece]

    yield from part_of(in_threads(look, cut, "Numbering"), 1, 1, 2)
    return numbers[1:]
