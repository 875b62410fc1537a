"""Panoptic quality: how well segments agree with the truth, per class.

All scores are computed from sums, so several images are pooled by adding their sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_tessera.core.checks import whole_numbers
from napari_tessera.core.errors import InputError, short
from napari_tessera.core.jobs import Job, Progress, run_job
from napari_tessera.core.labels import LabelMapping as NumberMapping
from napari_tessera.core.labels import Segments
from napari_tessera.core.overlaps import Overlaps, count_pairs, find_overlaps
from napari_tessera.core.spec import Table
from napari_tessera.metrics.segmentation import scores_of_many


def segments_of_classes(
    objects: np.ndarray, classes: np.ndarray, names: Mapping[int, str] | None = None, name: str = "labels"
) -> Segments:
    """Make segments from two label images: the object and the class of each pixel.

    A class with no pixel in an object is stuff: it is one segment.

    Parameters
    ----------
    objects : array of int
        Numbers of things; 0 elsewhere. Two classes may use the same number.
    classes : array of int
        The same shape; 0 is void.
    names : mapping, optional
        Names of the classes by number.
    name : str
        Name of the images in errors.

    Raises
    ------
    InputError
        If the shapes differ, or a class is only partly covered by objects.
    """
    objects, classes = whole_numbers(objects, f"{name}: objects"), whole_numbers(classes, f"{name}: classes")
    if objects.shape != classes.shape:
        raise InputError(f"{name}: objects have shape {objects.shape} but their classes have {classes.shape}.")
    flat_objects, flat_classes = objects.reshape(-1), classes.reshape(-1)
    of_class, of_object, _ = count_pairs(flat_classes, np.where(flat_classes > 0, flat_objects, 0))
    is_segment = of_class > 0
    of_class, of_object = of_class[is_segment], of_object[is_segment]
    is_thing = of_object > 0
    torn = np.intersect1d(of_class[is_thing], of_class[~is_thing])
    if len(torn):
        raise InputError(
            f"{name}: class {torn[0]} has pixels inside and outside of objects, so it is neither thing nor "
            "stuff. Number its objects, or set the other pixels to another class or to 0 (void)."
        )
    labels = _numbered(flat_classes, flat_objects, of_class, of_object).reshape(classes.shape)
    called = names or {}
    words = np.array([called.get(number, f"class {number}") for number in of_class.tolist()], str)
    n = len(of_class)
    return Segments(labels, np.arange(1, n + 1), words, is_thing, np.zeros(n, bool), np.full(n, np.nan))


def _numbered(classes: np.ndarray, objects: np.ndarray, of_class: np.ndarray, of_object: np.ndarray) -> np.ndarray:
    """Give each pair of a class and an object a number, 1…S in order; void is 0."""
    largest = int(of_object.max(initial=0)) + 1
    keys = np.append(0, of_class.astype(np.int64) * largest + of_object)
    mapping = NumberMapping(keys, np.arange(len(keys), dtype=np.int64))
    return mapping[np.where(classes > 0, classes.astype(np.int64) * largest + objects, 0)]


MATCH_IOU = 0.5
"""Segments of a class match above this IoU; at most one can, because segments do not overlap."""
LARGEST_IGNORED_SHARE = 0.5
"""A predicted segment with more than this share in void or in a crowd of its class is not an error."""

SegmentsOrPair = Segments | tuple[np.ndarray, Table]


@dataclass(frozen=True)
class ClassSums:
    """Sums for one class: matches, their IoU, false positives and false negatives."""

    matches: int = 0
    iou_sum: float = 0.0
    invented: int = 0
    missed: int = 0
    is_thing: bool = False

    def __add__(self, other: ClassSums) -> ClassSums:
        sums = {name: value + vars(other)[name] for name, value in vars(self).items()}
        return ClassSums(**sums | {"is_thing": self.is_thing or other.is_thing})

    @property
    def occurs(self) -> bool:
        """Whether the class has a segment that counts."""
        return self.matches + self.invented + self.missed > 0

    def scores(self) -> dict[str, Any]:
        """Return PQ, SQ and RQ, and the numbers that they are computed from."""
        rq = self.matches / (self.matches + (self.invented + self.missed) / 2)
        sq = self.iou_sum / self.matches if self.matches else 0.0
        counts = {"tp": self.matches, "fp": self.invented, "fn": self.missed}
        return {"pq": sq * rq, "sq": sq, "rq": rq, **counts, "kind": "thing" if self.is_thing else "stuff"}


@dataclass(frozen=True)
class PanopticSums:
    """Sums for every class by its name."""

    classes: dict[str, ClassSums] = field(default_factory=dict)

    def __add__(self, other: PanopticSums) -> PanopticSums:
        names = sorted(self.classes.keys() | other.classes.keys())
        return PanopticSums(
            {name: self.classes.get(name, ClassSums()) + other.classes.get(name, ClassSums()) for name in names}
        )

    def scores(self) -> dict[str, Any]:
        """Return the scores listed in `evaluate_panoptic`."""
        classes = {name: sums.scores() for name, sums in self.classes.items() if sums.occurs}
        things = [scores for scores in classes.values() if scores["kind"] == "thing"]
        stuff = [scores for scores in classes.values() if scores["kind"] == "stuff"]
        return {"all": _mean([*things, *stuff]), "things": _mean(things), "stuff": _mean(stuff), "classes": classes}


def evaluate_panoptic(truth: SegmentsOrPair, prediction: SegmentsOrPair) -> dict[str, Any]:
    """Score a panoptic segmentation against the truth.

    Parameters
    ----------
    truth, prediction : pair of array and dict, or Segments
        Labels with a table of the ``class`` and the ``kind`` ("thing" or "stuff") of each ``label``, as
        `tessera.panoptic` makes them (the first and the last array it returns); 0 is void. Or segments from
        `segments_of_classes` or `io.coco_panoptic`. Classes are matched by their name.

    Returns
    -------
    dict
        Plain numbers and dicts, ready for JSON.

        - ``classes``: for each class that occurs ``pq``, ``sq``, ``rq``, ``tp``, ``fp``, ``fn`` and ``kind``.
        - ``all``, ``things``, ``stuff``: the mean of ``pq``, ``sq`` and ``rq`` over the classes, and their number
          ``n``. Without any class the means are None.

    Raises
    ------
    InputError
        If the shapes differ, or a table does not fit its labels.

    Notes
    -----
    Two segments match if they have the same class and an IoU above 0.5. PQ = (sum of the IoU of the matches) /
    (TP + FP / 2 + FN / 2) is the product of SQ, the mean IoU of the matches, and RQ, the F1 score. Void pixels of the
    truth do not count in the IoU; a predicted segment more than half in void, or in a crowd of its class, is not an
    error; a crowd of the truth need not be found.

    References
    ----------
    Kirillov A. et al. (2019), Panoptic segmentation, doi:10.1109/CVPR.2019.00963.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> table = {"label": np.array([1, 2]), "class": np.array(["cell", "ground"]), "kind": np.array(["thing", "stuff"])}
    >>> truth, found = np.array([[1, 1, 1, 2, 2, 2]]), np.array([[1, 1, 1, 1, 2, 2]])
    >>> scores = tessera.evaluate_panoptic((truth, table), (found, table))
    >>> scores["classes"]["cell"]["pq"], round(scores["all"]["pq"], 3)
    (0.75, 0.708)
    """
    return run_job(_counting(truth, prediction)).scores()


def panoptic_evaluation_of_many(pairs: Iterable[tuple[SegmentsOrPair, SegmentsOrPair]]) -> Job[dict[str, Any]]:
    """Score many images, as a job: ``images`` has the scores of each, ``pooled`` those of the sums over all."""
    images, pooled = yield from scores_of_many(pairs, _counting)
    return {"images": images, "pooled": pooled}


def _counting(truth: SegmentsOrPair, prediction: SegmentsOrPair) -> Job[PanopticSums]:
    true, found = _segments(truth, "`truth`"), _segments(prediction, "`prediction`")
    overlaps = yield from find_overlaps(true.labels, found.labels)
    yield Progress(1, 1, "Matching segments")
    return count_segments(true, found, overlaps)


def _segments(value: SegmentsOrPair, name: str) -> Segments:
    if isinstance(value, Segments):
        return value
    if not isinstance(value, tuple | list) or len(value) != 2 or not isinstance(value[1], Mapping):
        raise InputError(f"{name} is {short(value)}, but it must be labels and their table, or Segments.")
    return Segments.of_table(*value, name=name)


def count_segments(true: Segments, found: Segments, overlaps: Overlaps) -> PanopticSums:
    """Match the segments of each class, and count them."""
    true_rows, found_rows = _rows(true, overlaps.truth), _rows(found, overlaps.prediction)
    true_classes, found_classes = true.classes[true_rows], found.classes[found_rows]
    is_crowd = true.is_crowd[true_rows]
    same_class = true_classes[overlaps.rows] == found_classes[overlaps.columns]
    in_crowd = same_class & is_crowd[overlaps.rows]
    iou = overlaps.shared_px / (overlaps.union_px - _void_px(overlaps)[overlaps.columns])
    is_match = same_class & ~is_crowd[overlaps.rows] & (iou > MATCH_IOU)
    is_missed = ~is_crowd
    is_missed[overlaps.rows[is_match]] = False
    is_invented = _void_px(overlaps, in_crowd) <= LARGEST_IGNORED_SHARE * overlaps.prediction_px
    is_invented[overlaps.columns[is_match]] = False
    matched, iou = true_classes[overlaps.rows[is_match]], iou[is_match]
    known = set(true.classes.tolist())
    things = {*true.classes[true.is_thing].tolist(), *(set(found.classes[found.is_thing].tolist()) - known)}

    def sums_of(name: str) -> ClassSums:
        here = matched == name
        invented, missed = found_classes[is_invented] == name, true_classes[is_missed] == name
        return ClassSums(
            int(here.sum()), float(iou[here].sum()), int(invented.sum()), int(missed.sum()), name in things
        )

    return PanopticSums({name: sums_of(name) for name in sorted({*true_classes.tolist(), *found_classes.tolist()})})


def _void_px(overlaps: Overlaps, in_crowd: np.ndarray | None = None) -> np.ndarray:
    """Count the pixels of each predicted segment outside of all true segments, or in the given crowds."""
    claimed = slice(None) if in_crowd is None else ~in_crowd
    columns, shared = overlaps.columns[claimed], overlaps.shared_px[claimed]
    return overlaps.prediction_px - np.bincount(columns, shared, len(overlaps.prediction)).astype(np.int64)


def _rows(segments: Segments, numbers: np.ndarray) -> np.ndarray:
    """Return the position of each number in the segments."""
    order = np.argsort(segments.numbers)
    return order[np.searchsorted(segments.numbers[order], numbers)]


def _mean(classes: list[dict[str, Any]]) -> dict[str, Any]:
    means = {key: float(np.mean([each[key] for each in classes])) if classes else None for key in ("pq", "sq", "rq")}
    return {**means, "n": len(classes)}
