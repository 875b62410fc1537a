"""Turn the detections of a plane into numbered objects and a table: accept them, assign pixels, report what is dropped.

References
----------
Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963, section 4.2: of overlapping masks the higher score wins, and an
object that is mostly hidden is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_tessera.algorithms.relabel import only, relabel
from napari_tessera.core.jobs import Job, Piece, in_background, in_threads, pieces, subtask
from napari_tessera.models.mask_rcnn.boxes import areas
from napari_tessera.models.mask_rcnn.detections import Detections
from napari_tessera.models.mask_rcnn.masks import paint_labels

JUST_BELOW = 0.1
"""Detections that score lower than asked for by no more than this are worth a word to the user."""

TRACE = 0.05
"""Share of a mask up to which overlap is the roughness of outlines, and worth no word."""
SURE = 0.5
"""Score from which on objects count for the usual diameter: fixed, so that the scale is the same at any score."""


@dataclass(frozen=True)
class DetectionThresholds:
    """Which detections become objects, and which pixels belong to them."""

    score: float = 0.5  # least score
    max_objects: int | None = None  # those of the highest scores are kept
    mask_level: float = 0.5  # probability above which a pixel belongs to an object
    most_hidden: float = 0.5  # share of its mask that an object may lose to objects of higher scores

    @classmethod
    def of(
        cls, header: Mapping[str, Any], score: float | None = None, max_objects: int | None = None
    ) -> DetectionThresholds:
        """Read the thresholds from a model's header; what the user asks for goes before the model's own."""
        known = {field.name for field in fields(cls)} - {"max_objects"}
        own = cls(**{name: value for name, value in header.get("decoding", {}).items() if name in known})
        return replace(own, score=own.score if score is None else score, max_objects=max_objects)

    @property
    def faintest(self) -> float:
        """The score down to which detections are looked at, to know what a lower one would give."""
        return max(0.0, self.score - JUST_BELOW)


@dataclass(frozen=True)
class DroppedDetections:
    """How many detections became no object, by the reason, and how much of the objects is hidden."""

    unseen: int = 0  # likely places that were not looked at, because of a limit on proposals
    faint: int = 0  # detections whose score is just below the least one
    surplus: int = 0  # detections beyond the largest number
    hidden: int = 0  # objects that lost most of their mask to others
    blank: int = 0  # detections without a pixel that likely belongs to them
    small: int = 0  # objects of fewer pixels than the least size
    overlapping: int = 0  # objects that were kept, but lost more than a trace of their mask,
    shared_px: int = 0  # and how many pixels these lost together

    def __add__(self, other: DroppedDetections) -> DroppedDetections:
        return DroppedDetections(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def accepted(found: Detections, thresholds: DetectionThresholds) -> tuple[Detections, DroppedDetections]:
    """Keep the detections of sufficient score; highest score first."""
    strong, seen = (int((found.scores >= least).sum()) for least in (thresholds.score, thresholds.faintest))
    return found.chosen(torch.arange(strong)), DroppedDetections(unseen=found.left.proposals, faint=seen - strong)


@dataclass(frozen=True)
class Rows:
    """The table of N objects, in the order of their labels."""

    classes: np.ndarray  # (N,), from 1
    scores: np.ndarray  # (N,)
    low: np.ndarray  # (N, ndim), where the box begins along ([z,] y, x), px,
    high: np.ndarray  # (N, ndim), and ends
    claimed_px: np.ndarray  # (N,), pixels of the whole mask,
    lost_px: np.ndarray  # (N,), and how many of them belong to objects of higher scores

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts below each other."""
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(part).values() for part in parts), strict=True)))

    def chosen(self, which: np.ndarray) -> Rows:
        """Return the rows with these indices, in this order."""
        return Rows(*(column[which] for column in vars(self).values()))


def painted(
    found: Detections, shape: Sequence[int], thresholds: DetectionThresholds, is_aligned: bool
) -> tuple[np.ndarray, Rows, DroppedDetections]:
    """Give each pixel to the highest score whose mask holds it; objects that are mostly hidden are dropped.

    `found` is in pixels of the image, highest score first; the labels (Y, X) are n + 1 for the n-th row.
    """
    whole = paint_labels(found.masks, found.boxes, shape, thresholds.mask_level, is_aligned)
    is_blank = whole.claimed_px == 0
    is_hidden = whole.lost_px > thresholds.most_hidden * whole.claimed_px
    if bool((is_blank | is_hidden).any()):
        found = found.chosen((~is_blank & ~is_hidden).nonzero()[:, 0])
        # The pixels of the dropped ones belong to others.
        whole = paint_labels(found.masks, found.boxes, shape, thresholds.mask_level, is_aligned)
    x0, y0, x1, y1 = found.boxes.numpy().T
    low, high = np.stack([y0, x0], axis=1), np.stack([y1, x1], axis=1)
    pixels = whole.claimed_px.numpy(), whole.lost_px.numpy()
    rows = Rows(found.labels.numpy(), found.scores.numpy(), low, high, *pixels)
    return whole.labels.int().numpy(), rows, DroppedDetections(hidden=int(is_hidden.sum()), blank=int(is_blank.sum()))


def usual_diameter(found: Sequence[Detections], mask_level: float) -> float | None:
    """Return the usual diameter of the objects, px: half of all object pixels are in larger ones; None without objects.

    `found` are the detections in some windows, all at one scale.
    """
    sizes = torch.cat([_mask_areas(each, mask_level)[each.scores >= SURE] for each in found])
    sizes = sizes[sizes > 0].sort().values
    if not len(sizes):
        return None
    middle = int(torch.searchsorted(sizes.cumsum(0), sizes.sum() / 2))
    return float(2 * (sizes[middle] / torch.pi).sqrt())


def _mask_areas(found: Detections, level: float) -> Tensor:
    """Return the area of each mask, px²."""
    return (found.masks > level).float().mean(dim=(1, 2)) * areas(found.boxes)


def objects_of(
    found: Detections, shape: tuple[int, ...], thresholds: DetectionThresholds, is_aligned: bool, min_size: int
) -> Job[tuple[np.ndarray, Rows, DroppedDetections]]:
    """Make objects of detections: choose, paint, keep the largest piece of each, number.

    `found` is in pixels of the image, highest score first. The labels are int32 (Y, X): 0 background, 1…N in raster
    order. Objects of fewer than `min_size` pixels are dropped.
    """
    chosen, left = accepted(found, thresholds)
    work = partial(painted, chosen, shape, thresholds, is_aligned)
    drawn, rows, covered = yield from subtask(in_background(work, "Painting objects"), 0, 4, 10)
    count = len(rows.scores)
    yield from subtask(keep_largest_pieces(drawn, count), 4, 4, 10)
    labels = yield from subtask(relabel(drawn, np.arange(count + 1), min_size), 8, 1, 10)
    owners, _ = yield from subtask(owners_and_pixels(labels, drawn, "Numbering"), 9, 0.5, 10)
    order = owners[1:] - 1
    small = DroppedDetections(small=count - len(order) if min_size else 0)
    labels, rows = yield from subtask(best_of(labels, rows.chosen(order), thresholds.max_objects), 9.5, 0.5, 10)
    overlaps = rows.lost_px > TRACE * rows.claimed_px
    others = DroppedDetections(
        surplus=len(order) - len(rows.scores),
        overlapping=int(overlaps.sum()),
        shared_px=int(rows.lost_px[overlaps].sum()),
    )
    return labels, rows, left + covered + small + others


def best_of(labels: np.ndarray, rows: Rows, max_objects: int | None) -> Job[tuple[np.ndarray, Rows]]:
    """Keep the objects of the highest scores, in place; of equal ones, the first.

    They are chosen last of all: what was dropped for another reason does not take the place of an object, and no pixel
    of theirs ever belonged to an object of a lower score.
    """
    if max_objects is None or len(rows.scores) <= max_objects:
        return labels, rows
    kept = np.sort(np.argsort(-rows.scores, kind="stable")[:max_objects])
    is_kept = np.zeros(1 + len(rows.scores), bool)
    is_kept[1 + kept] = True
    return (yield from only(labels, is_kept)), rows.chosen(kept)


def keep_largest_pieces(labels: np.ndarray, count: int) -> Job[None]:
    """Remove, in place, all but the largest connected piece of each object 1…count; of equal ones, the first stays."""
    from skimage.measure import label

    finding = in_background(partial(label, labels, connectivity=1), "Finding pieces")
    parts = yield from subtask(finding, 0, 6, 10)
    owners, pixels = yield from subtask(owners_and_pixels(parts, labels, "Finding pieces"), 6, 2, 10)
    order = np.lexsort((-np.arange(len(pixels)), pixels))  # the largest, of equals the first, comes last
    largest = np.zeros(count + 1, np.int64)
    largest[owners[order]] = order
    is_kept = largest[owners] == np.arange(len(owners))

    def take_away(piece: Piece) -> None:
        labels[piece][~is_kept[parts[piece]]] = 0

    yield from subtask(in_threads(take_away, pieces(labels.shape), "Finding pieces"), 8, 2, 10)


def owners_and_pixels(parts: np.ndarray, labels: np.ndarray, text: str) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Return for each part, and for the background at 0, the object it belongs to and its number of pixels."""
    cut = pieces(parts.shape)
    count = 1 + max((yield from subtask(in_threads(lambda piece: int(parts[piece].max()), cut), 0, 1, 2)))
    owners = np.zeros(count, np.int64)

    def gather(piece: Piece) -> np.ndarray:
        owners[parts[piece]] = labels[piece]
        return np.bincount(parts[piece].reshape(-1), minlength=count)

    counts = yield from subtask(in_threads(gather, cut, text), 1, 1, 2)
    return owners, np.sum(counts, axis=0)
