"""The sums that scores are made of. The sums of several images add up to those of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_tessera.matching import match
from napari_tessera.overlaps import Overlaps

MATCH_IOU = 0.5
"""From this IoU on, precision, recall, F1 and PQ take two objects for the same."""


@dataclass(frozen=True)
class Area:
    """Pixels labelled in the truth, in the prediction and in both."""

    truth_px: int = 0
    prediction_px: int = 0
    shared_px: int = 0

    def __add__(self, other: Area) -> Area:
        return Area(
            self.truth_px + other.truth_px, self.prediction_px + other.prediction_px, self.shared_px + other.shared_px
        )

    def scores(self) -> dict[str, float]:
        """Dice and IoU; two empty areas agree fully."""
        both = self.truth_px + self.prediction_px
        return {"dice": _ratio(2 * self.shared_px, both), "iou": _ratio(self.shared_px, both - self.shared_px)}


@dataclass(frozen=True)
class ObjectCounts:
    """Sums for labels that are objects.

    Attributes
    ----------
    area : Area
    truth, prediction : int
        Number of objects.
    matches : dict
        Matched pairs at each IoU threshold.
    good_matches : int
        Matched pairs at `MATCH_IOU`.
    iou_sum : float
        Sum of the IoU of those.
    splits, merges : int
    """

    area: Area
    truth: int
    prediction: int
    matches: dict[float, int]
    good_matches: int
    iou_sum: float
    splits: int
    merges: int

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts(
            area=self.area + other.area,
            truth=self.truth + other.truth,
            prediction=self.prediction + other.prediction,
            matches={iou: found + other.matches[iou] for iou, found in self.matches.items()},
            good_matches=self.good_matches + other.good_matches,
            iou_sum=self.iou_sum + other.iou_sum,
            splits=self.splits + other.splits,
            merges=self.merges + other.merges,
        )

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
    """Sums for labels that are classes.

    Attributes
    ----------
    area : Area
        Of all classes together, against the background.
    areas : dict
        Of each class that occurs in either image.
    px, right_px : int
        Pixels in all, and those whose class is right (background included).
    """

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
    """Count the holders that hold two objects or more; -1 is nobody."""
    return int((np.bincount(holders[holders >= 0]) >= 2).sum())


def _foreground(overlaps: Overlaps) -> Area:
    return Area(int(overlaps.truth_px.sum()), int(overlaps.prediction_px.sum()), int(overlaps.shared_px.sum()))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _threshold_name(iou: float) -> str:
    return f"{iou:.2f}" if round(iou, 2) == iou else repr(iou)
