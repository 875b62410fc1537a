"""Label arrays: connected components, pieces, numbers in raster order, and segments with a class.

Every label array here is C-ordered and integer; 0 is background.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import fastremap
import numpy as np

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, middle

CHUNK_PX = 1 << 20
"""Pixels processed between two steps of a job: a few milliseconds of NumPy."""
LOOKED_AT_PX = 1024
CHANGES_OF_IMAGES = 0.4
"""An array with a larger share of neighbours (above 0) that differ is an image, not labels. Touching squares of 3×3
pixels have a third."""
LARGE_PIECE = 0.2
"""Smallest share of an object of a piece that may be an object itself."""


def label_dtype(largest: int) -> type[np.signedinteger]:
    """Return int32, or int64 where `largest` does not fit."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


def neighbourhood(ndim: int, connectivity: int) -> np.ndarray:
    """Return the (3, …, 3) boolean structuring element; connectivity 1 is faces only, `ndim` all diagonals too."""
    from scipy import ndimage

    return ndimage.generate_binary_structure(ndim, min(connectivity, ndim))


def connected_components(mask: np.ndarray, connectivity: int = 1) -> np.ndarray:
    """Label the connected regions of `mask` from 1 in raster order of their first pixel; int32, or int64 above 2³¹."""
    dtype = label_dtype(mask.size)
    from scipy import ndimage

    labels, _ = ndimage.label(mask, neighbourhood(mask.ndim, connectivity), output=dtype)
    return labels


def pieces_of(labels: np.ndarray, smallest_share: float) -> dict[int, int]:
    """Count the connected pieces of each number, without those of a smaller share of it.

    Examples
    --------
    >>> pieces_of(np.array([[1, 0, 1, 0, 5, 5]]), 0.05)
    {1: 2, 5: 1}
    """
    from skimage.measure import label

    pieces = label(labels, background=0, connectivity=labels.ndim)
    number_of = np.zeros(int(pieces.max(initial=0)) + 1, np.int64)
    number_of[pieces] = labels
    px = np.bincount(pieces.ravel())[1:]
    numbers, which = np.unique(number_of[1:], return_inverse=True)
    is_large = px >= smallest_share * np.bincount(which, weights=px)[which]
    counts = np.bincount(which[is_large], minlength=len(numbers))
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def numbers_in_pieces(labels: np.ndarray) -> list[int]:
    """Return the numbers that lie on several separate large pieces: probably several objects with one number."""
    return [number for number, count in pieces_of(labels, LARGE_PIECE).items() if count > 1]


def renumber(labels: np.ndarray) -> np.ndarray:
    """Renumber objects 1…N in raster order of their first pixel; the result is int32, or int64 above 2³¹.

    The input may be overwritten.
    """
    if labels.size == 0:
        return labels.astype(np.int32)
    labels, mapping = fastremap.renumber(np.ascontiguousarray(labels), start=1, preserve_zero=True, in_place=True)
    return labels.astype(label_dtype(len(mapping)), copy=False)


def renumbering(labels: np.ndarray) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Do the same as `renumber` in small steps, on a copy; return also the earlier number of object 1…N, (N,)."""
    flat = np.ascontiguousarray(labels).reshape(-1)
    total = 2 * flat.size
    found = [flat[:0]]
    for part in chunks(flat.size):
        yield Progress(part.start, total, "Numbering")
        found.append(unique_in_order(flat[part]))
    old = unique_in_order(np.concatenate(found))
    numbers = np.arange(len(old) + 1, dtype=label_dtype(len(old)))
    with_background = np.append(np.zeros(1, old.dtype), old)  # a plain 0 would round uint64 to float64
    mapping = LabelMapping(with_background, numbers)
    result = np.empty(flat.shape, numbers.dtype)
    for part in chunks(flat.size):
        yield Progress(flat.size + part.start, total, "Numbering")
        result[part] = mapping[flat[part]]
    return result.reshape(labels.shape), old


def chunks(size: int, chunk_px: int = CHUNK_PX) -> Iterator[slice]:
    """Cut `size` pixels of a flat array into slices of at most `chunk_px`."""
    for start in range(0, size, chunk_px):
        yield slice(start, min(start + chunk_px, size))


def run_starts(*flat: np.ndarray) -> np.ndarray:
    """Return where a new run of equal values begins in any of the flat arrays of one length.

    Label images consist of long runs, so counting runs is many times faster than counting pixels.
    """
    if flat[0].size == 0:
        return np.empty(0, np.intp)
    is_start = np.zeros(flat[0].size, bool)
    is_start[0] = True
    for values in flat:
        is_start[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(is_start)


class LabelMapping:
    """Map unique labels, (N,), to numbers, (N,): by a table if labels are small, by search if they are huge.

    A label that is not listed must not be looked up.
    """

    LARGEST_TABLE = 1 << 24

    def __init__(self, labels: np.ndarray, numbers: np.ndarray) -> None:
        self._table: np.ndarray | None = None
        if len(labels) and labels.max() < max(self.LARGEST_TABLE, 4 * len(labels)):
            self._table = np.zeros(int(labels.max()) + 1, numbers.dtype)
            self._table[labels] = numbers
        order = np.argsort(labels)
        self._labels, self._numbers = labels[order], numbers[order]

    def __getitem__(self, labels: np.ndarray) -> np.ndarray:
        if self._table is not None:
            return self._table[labels]
        return self._numbers[np.searchsorted(self._labels, labels)]


def unique_in_order(labels: np.ndarray) -> np.ndarray:
    """Return the numbers of the objects in raster order of their first pixel."""
    flat = np.ascontiguousarray(labels).reshape(-1)
    values, first = np.unique(flat[run_starts(flat)], return_index=True)
    values = values[np.argsort(first)]
    return values[values != 0]


def offset_labels(labels: np.ndarray, largest: int) -> np.ndarray:
    """Add `largest` to every label except the background; the result is int32, or int64 above 2³¹."""
    dtype = label_dtype(largest + int(labels.max(initial=0)))
    return np.where(labels > 0, labels.astype(dtype) + dtype(largest), dtype(0))


def looks_like_an_image(labels: np.ndarray) -> bool:
    """Return whether most pixels in the middle of a label image differ from the next pixel."""
    return changes(labels[middle(labels.shape, (LOOKED_AT_PX,) * labels.ndim)]) > CHANGES_OF_IMAGES


def changes(values: np.ndarray) -> float:
    """Return the share of neighbours along the last axis, above 0, that differ; 0 if there are few.

    Examples
    --------
    >>> changes(np.array([[0, 1, 1, 1, 2, 2, 0]])), changes(np.array([[1, 0, 1, 0]]))
    (0.25, 0.0)
    """
    left, right = values[..., :-1], values[..., 1:]
    both = (left > 0) & (right > 0)
    if both.sum() < np.count_nonzero(values) / 2:
        return 0.0
    return float((left != right)[both].mean()) if both.any() else 0.0


THING, STUFF = "thing", "stuff"
"""Kinds of classes: countable things, and stuff."""


def things_among(labels: np.ndarray, table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the labels of what is counted: where the table has a kind, stuff becomes 0."""
    if "kind" not in table:
        return labels
    stuff = np.asarray(table["label"])[np.asarray(table["kind"]) == STUFF]
    return np.where(np.isin(labels, stuff), 0, labels)


@dataclass(frozen=True)
class Segments:
    """The segments of one image.

    Attributes
    ----------
    labels : array of int
        The segment of each pixel; 0 is void (unknown).
    numbers : (S,) array of int
        The numbers of the segments.
    classes : (S,) array of str
        The class of each.
    is_thing : (S,) array of bool
        Whether its class is counted.
    is_crowd : (S,) array of bool
        Whether it is a crowd of things that were not separated.
    scores : (S,) array of float
        NaN without a score.
    """

    labels: np.ndarray
    numbers: np.ndarray
    classes: np.ndarray
    is_thing: np.ndarray
    is_crowd: np.ndarray
    scores: np.ndarray

    @classmethod
    def of_table(cls, labels: np.ndarray, table: Mapping[str, np.ndarray], name: str = "labels") -> Segments:
        """Make segments from labels and their table, as `tessera.panoptic` returns them.

        Raises
        ------
        InputError
            If the table lacks a column, or a row for a label.
        """
        missing = [column for column in ("label", "class", "kind") if column not in table]
        if missing:
            raise InputError(
                f"The table of {name} has no column {' and no '.join(map(repr, missing))}. It needs the label, the "
                f"class and the kind ({THING!r} or {STUFF!r}) of each segment, as `panoptic` writes them."
            )
        numbers = np.asarray(table["label"]).astype(np.int64)
        wrong = sorted(set(np.asarray(table["kind"]).tolist()) - {THING, STUFF})
        if wrong:
            raise InputError(f"The table of {name} has the kind {wrong[0]!r}, but it must be {THING!r} or {STUFF!r}.")
        unnamed = np.setdiff1d(np.unique(labels), np.append(0, numbers))
        if len(unnamed):
            raise InputError(f"The table of {name} has no row for label {unnamed[0]} ({len(unnamed)} are missing).")
        scores = np.asarray(table.get("score", np.full(len(numbers), np.nan)), float)
        is_thing = np.asarray(table["kind"]) == THING
        return cls(labels, numbers, np.asarray(table["class"], str), is_thing, np.zeros(len(numbers), bool), scores)
