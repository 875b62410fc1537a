"""Full labels that are probably paint: what has the number 1 lies as painted background does, and as no object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes

from napari_tessera.train.targets import BACKGROUND

FEWEST_OTHERS = 3
"""Other numbers, and others around which or beside which the number 1 lies, below which nothing is said."""
FEWEST_PIECES = 3
LARGE_SHARE = 0.05
"""A smaller share of what has a number is no piece of it, but a slip."""
MOST_IN_PIECES = 0.1
"""Share of the others that may lie in several pieces, too: where more do, all objects look like that."""
MOST_OFTEN = 0.5
"""Share of the label images above which the number 1 must lie so."""


@dataclass(frozen=True)
class Ones:
    """How what has the number 1 lies among what has others.

    Attributes
    ----------
    pieces : int
        In how many it lies.
    others, others_in_pieces : int
        How many there are, and how many of them lie in several pieces.
    around : int
        Others inside it, or that touch it and nothing else.
    """

    pieces: int = 0
    others: int = 0
    others_in_pieces: int = 0
    around: int = 0

    @property
    def is_scattered(self) -> bool:
        """Whether it lies in pieces, as strokes do."""
        return self.pieces >= FEWEST_PIECES

    @property
    def is_like_paint(self) -> bool:
        """Whether it lies in pieces or around the others, which are in one piece each."""
        is_around = self.around >= max(FEWEST_OTHERS, self.others / 2)
        are_whole = self.others >= FEWEST_OTHERS and self.others_in_pieces <= MOST_IN_PIECES * self.others
        return are_whole and (self.is_scattered or is_around)


def ones_in(labels: np.ndarray) -> Ones:
    """Look how what has the number 1 lies."""
    if not (labels == BACKGROUND).any():
        return Ones()
    pieces = pieces_of(labels)
    others = [count for number, count in pieces.items() if number != BACKGROUND]
    return Ones(
        pieces[BACKGROUND], len(others), sum(count > 1 for count in others), len(inside(labels) | beside(labels))
    )


def pieces_of(labels: np.ndarray) -> dict[int, int]:
    """Count the pieces of each number, but for tiny ones.

    Examples
    --------
    >>> pieces_of(np.array([[1, 0, 1, 0, 5, 5]]))
    {1: 2, 5: 1}
    """
    from skimage.measure import label

    pieces = label(labels, background=0, connectivity=labels.ndim)
    number_of = np.zeros(int(pieces.max()) + 1, np.int64)
    number_of[pieces] = labels
    px = np.bincount(pieces.ravel())[1:]
    numbers, which = np.unique(number_of[1:], return_inverse=True)
    is_large = px >= LARGE_SHARE * np.bincount(which, weights=px)[which]
    return dict(zip(numbers.tolist(), np.bincount(which[is_large]).tolist(), strict=True))


def inside(labels: np.ndarray) -> set[int]:
    """Return the numbers that what has the number 1 encloses."""
    enclosed = binary_fill_holes(labels == BACKGROUND) & (labels > BACKGROUND)
    return set(np.unique(labels[enclosed]).tolist())


def beside(labels: np.ndarray) -> set[int]:
    """Return the numbers that touch what has the number 1, and nothing else.

    Examples
    --------
    >>> beside(np.array([[2, 1, 3, 4]]))
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


def doubt_of_paint(looks: Sequence[Ones]) -> str:
    """Say that full labels look like paint, where most of them do; otherwise nothing."""
    found = [look for look in looks if look.is_like_paint]
    if len(found) <= MOST_OFTEN * len(looks):
        return ""
    first = found[0]
    where = f"in {first.pieces} pieces" if first.is_scattered else f"around {first.around} of {first.others} others"
    return (
        f"The labels look like paint: the number 1 lies {where}, and the others are in one piece each. If it is paint, "
        "in which 0 is not painted and 1 is background, add --painted (in Python painted=True, or use "
        "tessera.fine_tune): without it, what is not painted is learnt as background, and the number 1 as an object."
    )
