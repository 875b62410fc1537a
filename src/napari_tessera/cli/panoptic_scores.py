"""`tessera evaluate --panoptic TRUTH PREDICTION`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_tessera.cli.segment_files import Reader, readers
from napari_tessera.errors import InputError
from napari_tessera.jobs import Job
from napari_tessera.segments import Segments

MEANS = {"things": "mean of things", "stuff": "mean of stuff", "all": "mean of all"}


class SegmentPairs(Sequence[tuple[Segments, Segments]]):
    """Truth and prediction of each image, read when asked for."""

    def __init__(self, names: Sequence[str], truths: Sequence[Reader], predictions: Sequence[Reader]) -> None:
        self.names = names
        self._readers = list(zip(truths, predictions, strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: Any) -> Any:
        truth, prediction = (read() for read in self._readers[number])
        if truth.labels.shape != prediction.labels.shape:
            raise InputError(
                f"{self.names[number]}: the truth has shape {truth.labels.shape}, but the prediction has "
                f"{prediction.labels.shape}. They must be of the same image."
            )
        return truth, prediction


def pairs_of(
    truth: Path,
    prediction: Path,
    label_files: Callable[[Path], Mapping[str, Path]],
    matched: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]],
) -> SegmentPairs:
    """Match the images of truth and prediction by name; two single images match whatever they are called."""
    truths, predictions = readers(truth, label_files), readers(prediction, label_files)
    if len(truths) == len(predictions) == 1:
        return SegmentPairs(list(truths), list(truths.values()), list(predictions.values()))
    names = matched(truths, predictions)
    return SegmentPairs(names, [truths[name] for name in names], [predictions[name] for name in names])


def scoring(pairs: SegmentPairs) -> Job[dict[str, Any]]:
    """Score the pairs."""
    from napari_tessera.panoptic_quality import panoptic_evaluation_of_many

    return panoptic_evaluation_of_many(pairs)


def rows_of(scores: Mapping[str, Any], names: Sequence[str], *, per_image: bool) -> list[list[str]]:
    """Lay out the scores: a line for each class and each mean, pooled over the images, and for each image if asked."""
    rows = [["class", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN"]]
    pooled = scores["pooled"]
    for name, each in pooled["classes"].items():
        counts = [str(each[key]) for key in ("tp", "fp", "fn")]
        rows.append([name, each["kind"], *_three(each), *counts])
    for group, title in MEANS.items():
        rows.append([f"{title} ({pooled[group]['n']})", "", *_three(pooled[group]), "", "", ""])
    if per_image:
        for name, image in zip(names, scores["images"], strict=True):
            rows.append([f"image {name}", "", *_three(image["all"]), "", "", ""])
    return rows


def advice_on_names(scores: Mapping[str, Any]) -> str | None:
    """Say it where truth and prediction may call the same class by two names: then nothing of it matches.

    Examples
    --------
    >>> missed, invented = {"tp": 0, "fp": 0, "fn": 9}, {"tp": 0, "fp": 9, "fn": 0}
    >>> advice_on_names({"pooled": {"classes": {"cell": missed, "object": invented}}})[:63]
    "Classes are matched by name: 'cell' is only in the truth, 'obje"
    """
    counts = scores["pooled"]["classes"].items()
    missed = [name for name, each in counts if not each["tp"] + each["fp"]]
    invented = [name for name, each in counts if not each["tp"] + each["fn"]]
    if not (missed and invented):
        return None
    return (
        f"Classes are matched by name: {_listed(missed)} only in the truth, {_listed(invented)} only in the "
        "prediction. If they mean the same, give them the same name in the tables (.csv, column class)."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) + (" is" if len(names) == 1 else " are")


def _three(scores: Mapping[str, Any]) -> list[str]:
    return ["-" if scores[key] is None else f"{scores[key]:.4f}" for key in ("pq", "sq", "rq")]
