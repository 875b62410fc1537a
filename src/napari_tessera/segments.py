"""An image cut into segments, each of a class: what panoptic quality compares and panoptic files hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from napari_tessera.errors import InputError

THING, STUFF = "thing", "stuff"
"""Kinds of classes: those whose objects are counted, and those that are not."""


@dataclass(frozen=True)
class Segments:
    """Segments of one image.

    Attributes
    ----------
    labels : array of int
        The number of the segment that each pixel is in; 0 is void: nobody says what it is.
    numbers : (S,) array of int
        The numbers of the segments.
    classes : (S,) array of str
        Name of the class of each.
    is_thing : (S,) array of bool
        Whether its class is counted.
    is_crowd : (S,) array of bool
        Whether it is a crowd of things that were not told apart.
    scores : (S,) array of float
        NaN where there is none.
    """

    labels: np.ndarray
    numbers: np.ndarray
    classes: np.ndarray
    is_thing: np.ndarray
    is_crowd: np.ndarray
    scores: np.ndarray

    @classmethod
    def of_table(cls, labels: np.ndarray, table: Mapping[str, np.ndarray], name: str = "labels") -> Segments:
        """Take segments from labels and their table, as `tessera.panoptic` returns them.

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
