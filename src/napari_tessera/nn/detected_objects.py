"""From detections to objects: which are accepted, which pixels each gets, and what had to be left out.

References
----------
Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963, section 4.2: of overlapping masks the higher score wins, and what is
mostly hidden is no object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_tessera.nn.boxes import areas
from napari_tessera.nn.detections import Detections
from napari_tessera.nn.mask_pasting import Painted, paint_labels

JUST_BELOW = 0.1
"""Detections that score lower than asked for by no more than this are worth a word to the user."""

TRACE = 0.05
"""Share of a mask up to which overlap is the roughness of outlines, and worth no word."""
SURE = 0.5
"""Score from which on objects say how large objects are here. It is fixed, so that the scale is the same whatever score
is asked for."""


@dataclass(frozen=True)
class Acceptance:
    """Which detections become objects, and which pixels belong to them.

    Parameters
    ----------
    score : float
        Least score.
    most : int or None
        Largest number of objects; those of the highest scores are kept.
    mask_level : float
        Probability above which a pixel belongs to an object.
    most_hidden : float
        An object that loses more than this share of its mask to objects of higher scores is dropped.
    """

    score: float = 0.5
    most: int | None = None
    mask_level: float = 0.5
    most_hidden: float = 0.5

    @classmethod
    def of(cls, header: Mapping[str, Any], score: float | None = None, most: int | None = None) -> Acceptance:
        """Read it from a model's header; what the user asks for goes before the model's own."""
        known = {field.name for field in fields(cls)} - {"most"}
        own = cls(**{name: value for name, value in header.get("decoding", {}).items() if name in known})
        return replace(own, score=own.score if score is None else score, most=most)

    @property
    def faintest(self) -> float:
        """The score down to which detections are looked at, to know what a lower one would give."""
        return max(0.0, self.score - JUST_BELOW)


@dataclass(frozen=True)
class LeftOut:
    """What might have been objects, by the reason why it is none; and how much of the others is hidden.

    Parameters
    ----------
    unseen : int
        Likely places that were not looked at, because of a limit on proposals.
    faint : int
        Detections whose score is just below the least one.
    surplus : int
        Detections beyond the largest number.
    hidden : int
        Objects that lost most of their mask to others.
    blank : int
        Detections without a pixel that likely belongs to them.
    small : int
        Objects of fewer pixels than the least size.
    overlapping, shared_px : int
        Objects that lost more than a trace of their mask, but were kept, and how many pixels these lost together.
    """

    unseen: int = 0
    faint: int = 0
    surplus: int = 0
    hidden: int = 0
    blank: int = 0
    small: int = 0
    overlapping: int = 0
    shared_px: int = 0

    def __add__(self, other: LeftOut) -> LeftOut:
        return LeftOut(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def accepted(found: Detections, how: Acceptance) -> tuple[Detections, LeftOut]:
    """Keep the detections of sufficient score; highest score first."""
    strong, seen = (int((found.scores >= least).sum()) for least in (how.score, how.faintest))
    return found.chosen(torch.arange(strong)), LeftOut(unseen=found.left.proposals, faint=seen - strong)


@dataclass(frozen=True)
class PaintedObjects:
    """Objects of one plane, highest score first.

    Parameters
    ----------
    labels : int32 array (Y, X)
        0 background, n + 1 the object number n.
    classes, scores : (N,) array
        Number of the class, from 1; score.
    boxes : (N, 4) array
        x0, y0, x1, y1, px.
    claimed_px, lost_px : (N,) array
        Pixels of the whole mask, and of these, those of objects of higher scores.
    """

    labels: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    claimed_px: np.ndarray
    lost_px: np.ndarray


def painted(
    found: Detections, shape: Sequence[int], how: Acceptance, is_aligned: bool
) -> tuple[PaintedObjects, LeftOut]:
    """Give each pixel to the highest score whose mask holds it; what is mostly hidden is dropped.

    Parameters
    ----------
    found : Detections
        Highest score first, in pixels of the image.
    shape : (Y, X)
    how : Acceptance
    is_aligned : bool
        Whether masks are stretched over their boxes to a fraction of a pixel.
    """
    whole = _paint(found, shape, how, is_aligned)
    is_blank = whole.claimed_px == 0
    is_hidden = whole.lost_px > how.most_hidden * whole.claimed_px
    if bool((is_blank | is_hidden).any()):
        found = found.chosen((~is_blank & ~is_hidden).nonzero()[:, 0])
        whole = _paint(found, shape, how, is_aligned)  # what the dropped ones held goes to others
    left = LeftOut(hidden=int(is_hidden.sum()), blank=int(is_blank.sum()))
    arrays = (found.labels, found.scores, found.boxes, whole.claimed_px, whole.lost_px)
    return PaintedObjects(whole.labels.int().numpy(), *(each.numpy() for each in arrays)), left


def _paint(found: Detections, shape: Sequence[int], how: Acceptance, is_aligned: bool) -> Painted:
    return paint_labels(found.masks, found.boxes, shape, how.mask_level, is_aligned)


def seen_diameter(found: Sequence[Detections], mask_level: float) -> float | None:
    """Return the usual diameter of the objects, px: half of all object pixels are in larger ones; None if none is seen.

    Parameters
    ----------
    found : sequence of Detections
        Of some windows, all at one scale.
    mask_level : float
        Probability above which a pixel belongs to an object.
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
