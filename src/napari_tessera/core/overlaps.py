"""Count the pixels that the objects of two label images share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_tessera.core.checks import numbers_in, refuse_file_name, refuse_unread_floats, whole_numbers
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.labels import chunks, run_starts


@dataclass(frozen=True)
class Overlaps:
    """The overlap of T true and P predicted objects, of which M pairs share a pixel; background is not an object."""

    truth: np.ndarray  # (T,) labels, ascending
    prediction: np.ndarray  # (P,) labels, ascending
    truth_px: np.ndarray  # (T,) pixels of each object
    prediction_px: np.ndarray  # (P,)
    rows: np.ndarray  # (M,) positions in `truth` of the pairs, ascending
    columns: np.ndarray  # (M,) positions in `prediction`
    shared_px: np.ndarray  # (M,) pixels that each pair shares

    @property
    def union_px(self) -> np.ndarray:
        """Pixels of either object, for each of the M pairs."""
        return self.truth_px[self.rows] + self.prediction_px[self.columns] - self.shared_px

    @cached_property
    def iou(self) -> np.ndarray:
        """Shared pixels over the pixels of both, for each of the M pairs."""
        return self.shared_px / self.union_px

    @property
    def truth_holders(self) -> np.ndarray:
        """For each true object, the position of the one prediction with more than half of its pixels, or -1."""
        return _holders(self.rows, self.columns, 2 * self.shared_px > self.truth_px[self.rows], len(self.truth))

    @property
    def prediction_holders(self) -> np.ndarray:
        """For each predicted object, the position of the one true object with more than half of its pixels, or -1."""
        is_held = 2 * self.shared_px > self.prediction_px[self.columns]
        return _holders(self.columns, self.rows, is_held, len(self.prediction))


def find_overlaps(truth: np.ndarray, prediction: np.ndarray) -> Job[Overlaps]:
    """Count the pixels that each true and each predicted object share; 0 is background, and labels of any type."""
    truth, prediction = checked_pair(truth, prediction)
    first, second = truth.reshape(-1), prediction.reshape(-1)
    found = []
    for part in chunks(first.size):
        yield Progress(part.start, first.size, "Counting overlaps")
        found.append(count_pairs(first[part], second[part]))
    empty = (first[:0], second[:0], np.empty(0, np.int64))
    return _from_pairs(*sum_pairs(*map(np.concatenate, zip(empty, *found, strict=True))))


def checked_pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both label images as contiguous integers, or raise an `InputError`."""
    pair = []
    for name, given in (("`truth`", truth), ("`prediction`", prediction)):
        refuse_file_name(given, name, "read_labels")
        refuse_unread_floats(given, name)
        pair.append(numbers_in(given, name))
    truth, prediction = pair
    if truth.shape != prediction.shape:
        raise InputError(
            f"`truth` has shape {truth.shape} but `prediction` has {prediction.shape}. "
            "Compare label images of the same shape."
        )
    return _as_labels(truth, "truth"), _as_labels(prediction, "prediction")


def _as_labels(labels: np.ndarray, name: str) -> np.ndarray:
    labels = whole_numbers(labels, f"`{name}`")
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise InputError(f"`{name}` holds {labels.min()}, but labels are 0 (background) or more.")
    labels = np.ascontiguousarray(labels)
    return labels.view(np.uint8) if labels.dtype.kind == "b" else labels


def count_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the different pairs of values at the same position, and how often each occurs."""
    starts = run_starts(first, second)
    return sum_pairs(first[starts], second[starts], np.diff(starts, append=first.size))


def sum_pairs(first: np.ndarray, second: np.ndarray, px: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up the pixels of equal pairs; pairs come out in ascending order."""
    order = np.lexsort((second, first))
    first, second, px = first[order], second[order], px[order]
    starts = run_starts(first, second)
    summed = np.add.reduceat(px, starts) if len(starts) else px
    return first[starts], second[starts], summed


def _from_pairs(first: np.ndarray, second: np.ndarray, px: np.ndarray) -> Overlaps:
    truth, rows = np.unique(first, return_inverse=True)
    prediction, columns = np.unique(second, return_inverse=True)
    truth_px = np.bincount(rows, px, len(truth)).astype(np.int64)
    prediction_px = np.bincount(columns, px, len(prediction)).astype(np.int64)
    # The background, if any, is the smallest label and so at position 0.
    skip_row, skip_column = int(0 in truth[:1]), int(0 in prediction[:1])
    both = (first != 0) & (second != 0)
    return Overlaps(
        truth[skip_row:],
        prediction[skip_column:],
        truth_px[skip_row:],
        prediction_px[skip_column:],
        rows[both] - skip_row,
        columns[both] - skip_column,
        px[both],
    )


def _holders(objects: np.ndarray, holders: np.ndarray, is_held: np.ndarray, count: int) -> np.ndarray:
    found = np.full(count, -1, np.intp)
    found[objects[is_held]] = holders[is_held]
    return found
