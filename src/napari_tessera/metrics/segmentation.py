"""Dice, IoU, AP, F1, PQ, splits and merges of labels against the truth.

All scores are computed from sums (`counts`), so several images are pooled by adding their sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from functools import partial, reduce
from operator import add
from typing import Any, Literal, get_args

import numpy as np

from napari_tessera.core.errors import InputError, ParameterError, short
from napari_tessera.core.jobs import Job, Progress, run_job, subtask
from napari_tessera.core.overlaps import Overlaps, find_overlaps
from napari_tessera.metrics.matching import match

MATCH_IOU = 0.5
"""Smallest IoU of a match for precision, recall, F1 and PQ."""


@dataclass(frozen=True)
class Area:
    """Labelled pixels in the truth, in the prediction and in both."""

    truth_px: int = 0
    prediction_px: int = 0
    shared_px: int = 0

    def __add__(self, other: Area) -> Area:
        return Area(*map(add, astuple(self), astuple(other)))

    def scores(self) -> dict[str, float]:
        """Return Dice and IoU; both are 1 for two empty areas."""
        both = self.truth_px + self.prediction_px
        return {"dice": _ratio(2 * self.shared_px, both), "iou": _ratio(self.shared_px, both - self.shared_px)}


@dataclass(frozen=True)
class ObjectCounts:
    """Sums for labels that are objects: `matches` at each IoU threshold, `good_matches` and `iou_sum` at one."""

    area: Area
    truth: int
    prediction: int
    matches: dict[float, int]
    good_matches: int
    iou_sum: float
    splits: int
    merges: int

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        sums = {name: value + vars(other)[name] for name, value in vars(self).items() if name != "matches"}
        matches = {iou: found + other.matches[iou] for iou, found in self.matches.items()}
        return ObjectCounts(matches=matches, **sums)

    def scores(self) -> dict[str, Any]:
        """Return the scores listed in `metrics.evaluate`."""
        tp = {_threshold_name(iou): found for iou, found in self.matches.items()}
        ap = {name: _ratio(found, self.truth + self.prediction - found) for name, found in tp.items()}
        return {
            **self.area.scores(),
            "ap": ap,
            "map": float(np.mean(list(ap.values()))),
            "tp": tp,
            "fp": {name: self.prediction - found for name, found in tp.items()},
            "fn": {name: self.truth - found for name, found in tp.items()},
            **self._detection_scores(),
            "splits": self.splits,
            "merges": self.merges,
            "truth_objects": self.truth,
            "predicted_objects": self.prediction,
        }

    def _detection_scores(self) -> dict[str, float]:
        """Scores of the objects matched at `MATCH_IOU`."""
        if self.truth + self.prediction == 0:
            return dict.fromkeys(("precision", "recall", "f1", "pq", "sq", "rq"), 1.0)
        tp = self.good_matches
        f1 = 2 * tp / (self.truth + self.prediction)
        sq = self.iou_sum / max(tp, 1)
        return {
            "precision": tp / max(self.prediction, 1),
            "recall": tp / max(self.truth, 1),
            "f1": f1,
            "pq": sq * f1,
            "sq": sq,
            "rq": f1,
        }


@dataclass(frozen=True)
class ClassCounts:
    """Sums for labels that are classes: of all against the background, and of each that occurs in either image."""

    area: Area
    areas: dict[int, Area]
    px: int
    right_px: int

    def __add__(self, other: ClassCounts) -> ClassCounts:
        names = sorted(self.areas.keys() | other.areas.keys())
        areas = {name: self.areas.get(name, Area()) + other.areas.get(name, Area()) for name in names}
        return ClassCounts(self.area + other.area, areas, self.px + other.px, self.right_px + other.right_px)

    def scores(self) -> dict[str, Any]:
        """Return Dice and IoU of the foreground and of each class, their means, and the accuracy."""
        classes = {str(name): area.scores() for name, area in self.areas.items()}
        return {
            **self.area.scores(),
            "classes": classes,
            "mean_dice": float(np.mean([each["dice"] for each in classes.values()])) if classes else 1.0,
            "mean_iou": float(np.mean([each["iou"] for each in classes.values()])) if classes else 1.0,
            "accuracy": _ratio(self.right_px, self.px),
        }


def count_objects(overlaps: Overlaps, thresholds: Sequence[float]) -> ObjectCounts:
    """Match objects at each IoU threshold and count them."""
    good = match(overlaps, MATCH_IOU)
    return ObjectCounts(
        area=_foreground(overlaps),
        truth=len(overlaps.truth),
        prediction=len(overlaps.prediction),
        matches={iou: len(match(overlaps, iou)) for iou in thresholds},
        good_matches=len(good),
        iou_sum=float(overlaps.iou[good].sum()),
        splits=count_shared(overlaps.prediction_holders),
        merges=count_shared(overlaps.truth_holders),
    )


def count_classes(overlaps: Overlaps, px: int) -> ClassCounts:
    """Count the pixels of each class in a pair of images of `px` pixels."""
    same = overlaps.truth[overlaps.rows] == overlaps.prediction[overlaps.columns]
    truth = dict(zip(overlaps.truth.tolist(), overlaps.truth_px.tolist(), strict=True))
    prediction = dict(zip(overlaps.prediction.tolist(), overlaps.prediction_px.tolist(), strict=True))
    names = overlaps.truth[overlaps.rows[same]]
    shared = dict(zip(names.tolist(), overlaps.shared_px[same].tolist(), strict=True))
    areas = {
        name: Area(truth.get(name, 0), prediction.get(name, 0), shared.get(name, 0))
        for name in sorted(truth.keys() | prediction.keys())
    }
    area = _foreground(overlaps)
    background_px = px - area.truth_px - area.prediction_px + area.shared_px
    return ClassCounts(area, areas, px, background_px + sum(shared.values()))


def count_shared(holders: np.ndarray) -> int:
    """Count the holders with two objects or more; -1 is no holder."""
    return int((np.bincount(holders[holders >= 0]) >= 2).sum())


def _foreground(overlaps: Overlaps) -> Area:
    return Area(int(overlaps.truth_px.sum()), int(overlaps.prediction_px.sum()), int(overlaps.shared_px.sum()))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _threshold_name(iou: float) -> str:
    return f"{iou:.2f}" if round(iou, 2) == iou else repr(iou)


THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU thresholds 0.50, 0.55 … 0.95."""
Task = Literal["objects", "classes"]


def evaluate(
    truth: np.ndarray, prediction: np.ndarray, *, thresholds: Sequence[float] = THRESHOLDS, task: Task = "objects"
) -> dict[str, Any]:
    """Score a label image against the truth.

    Parameters
    ----------
    truth, prediction : array
        Label images of one shape, whole numbers of any type, in any number of dimensions; 0 is background. Objects may
        have any numbers.
    thresholds : sequence of float
        IoU from which on a pair of objects may match, each above 0 and at most 1.
    task : "objects" or "classes"
        Whether the labels are objects, which are counted, or classes, of each of which the pixels are scored.

    Returns
    -------
    dict
        Plain numbers, lists and dicts, ready for JSON.

        - ``dice``, ``iou``: of all labelled pixels against the background. With nothing labelled in either, 1.
        - ``ap``: for each threshold TP / (TP + FP + FN) under an optimal one-to-one matching; keys such as "0.50".
          ``map``: its mean over the thresholds. ``tp``, ``fp``, ``fn``: the numbers it is made of.
        - ``precision``, ``recall``, ``f1``: of objects matched at an IoU of 0.5 or more.
        - ``pq``, ``sq``, ``rq``: panoptic quality, its segmentation quality (the mean IoU of those matches) and its
          recognition quality (the same as F1).
        - ``splits``: true objects that hold two or more predicted ones, where an object holds another if it has more
          than half of its pixels. ``merges``: predicted objects that hold two or more true ones.
        - ``truth_objects``, ``predicted_objects``: how many there are.

        With no object in either image every score is 1. With objects in one only, the scores are 0. Where nothing
        matches, ``sq`` is 0.

        For classes there are, beside ``dice`` and ``iou``, only ``classes`` (Dice and IoU by class), ``mean_dice``
        and ``mean_iou`` (over the classes that occur in either image) and ``accuracy`` (of all pixels).

    Raises
    ------
    InputError
        If the shapes differ or an array does not hold labels.
    ParameterError
        If a threshold is not above 0 and at most 1.

    References
    ----------
    AP: Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7. PQ: Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963.
    Splits and merges: Coelho et al. 2009, doi:10.1109/ISBI.2009.5193098; Caicedo et al. 2019,
    doi:10.1002/cyto.a.23863.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> truth = np.array([[1, 1, 0, 2]])
    >>> scores = tessera.evaluate(truth, np.array([[7, 7, 0, 0]]))
    >>> scores["ap"]["0.50"], scores["dice"]
    (0.5, 0.8)
    """
    return run_job(evaluation(truth, prediction, thresholds=thresholds, task=task))


def evaluation(
    truth: np.ndarray, prediction: np.ndarray, *, thresholds: Sequence[float] = THRESHOLDS, task: Task = "objects"
) -> Job[dict[str, Any]]:
    """Do what `evaluate` does, as a job in small steps."""
    counts = yield from _counting(truth, prediction, _checked(thresholds), task)
    return counts.scores()


def evaluate_many(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, thresholds: Sequence[float] = THRESHOLDS, task: Task = "objects"
) -> dict[str, Any]:
    """Score many label images against their truths.

    Parameters
    ----------
    pairs : iterable of (truth, prediction)
        They may be read one by one: only two images are held at a time.
    thresholds, task
        See `evaluate`.

    Returns
    -------
    dict
        - ``images``: what `evaluate` says of each image, in order.
        - ``pooled``: the same scores from the sums over all images (of pixels, of TP, FP and FN), as if they were one
          large image. Classes are pooled by their number.
        - ``mean``: the mean of each score over the images, each image counting the same.

    Raises
    ------
    InputError
        If there is no pair, or one cannot be compared.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_tessera.metrics.segmentation import evaluate_many
    >>> one, none = np.array([[1, 1, 0]]), np.array([[0, 0, 0]])
    >>> scores = evaluate_many([(one, one), (one, none)])
    >>> scores["pooled"]["ap"]["0.50"], scores["mean"]["dice"]
    (0.5, 0.5)
    """
    return run_job(evaluation_of_many(pairs, thresholds=thresholds, task=task))


def evaluation_of_many(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, thresholds: Sequence[float] = THRESHOLDS, task: Task = "objects"
) -> Job[dict[str, Any]]:
    """Do what `evaluate_many` does, as a job in small steps."""
    images, pooled = yield from scores_of_many(pairs, partial(_counting, thresholds=_checked(thresholds), task=task))
    return {"images": images, "pooled": pooled, "mean": _mean(images)}


def scores_of_many(
    pairs: Iterable[tuple[Any, Any]], counting: Callable[[Any, Any], Job[Any]]
) -> Job[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Count one pair after the other; return the scores of each, and those of the sum of all counts."""
    total = float(len(pairs)) if isinstance(pairs, Sequence) else 0.0
    try:
        one_by_one = iter(pairs)
    except TypeError as error:
        raise InputError(
            f"evaluate: `pairs` is {short(pairs)}, but it must be pairs of truth and prediction."
        ) from error
    counts: list[Any] = []
    for done, pair in enumerate(one_by_one):
        counts.append((yield from subtask(counting(*checked_pair(pair)), done, 1, total)))
    if not counts:
        raise InputError("evaluate: there are no images to score. Give at least one pair of truth and prediction.")
    return [each.scores() for each in counts], reduce(add, counts).scores()


def _counting(
    truth: np.ndarray, prediction: np.ndarray, thresholds: tuple[float, ...], task: Task
) -> Job[ObjectCounts | ClassCounts]:
    if not isinstance(task, str) or task not in get_args(Task):
        raise ParameterError(f'evaluate: `task` is {short(task)}, but it must be "objects" or "classes".', "task")
    overlaps = yield from find_overlaps(truth, prediction)
    yield Progress(1, 1, "Matching objects")
    if task == "classes":
        return count_classes(overlaps, np.size(truth))
    return count_objects(overlaps, thresholds)


def checked_pair(pair: Any) -> tuple[Any, Any]:
    """Return a truth and a prediction, or refuse what is no pair."""
    try:
        truth, prediction = pair
    except (TypeError, ValueError) as error:
        raise InputError(f"evaluate: in `pairs` is {short(pair)}, but each is a truth and a prediction.") from error
    return truth, prediction


def _checked(thresholds: Sequence[float]) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in thresholds)
    except (TypeError, ValueError, OverflowError):
        values = ()
    if not values or not all(0 < value <= 1 for value in values):
        raise ParameterError(
            f"evaluate: `thresholds` is {short(thresholds)}, but each must be above 0 and at most 1, as in (0.5, "
            "0.75).",
            "thresholds",
        )
    return values


def _mean(images: list[dict[str, Any]]) -> dict[str, Any]:
    """Average each number over the images; in nested dicts, over the images that have the key."""
    mean: dict[str, Any] = {}
    for key in dict.fromkeys(key for image in images for key in image):
        found = [image[key] for image in images if key in image]
        mean[key] = _mean(found) if isinstance(found[0], dict) else float(np.mean(found))
    return mean
