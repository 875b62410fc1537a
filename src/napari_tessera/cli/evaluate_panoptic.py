"""`tessera evaluate --task panoptic TRUTH PREDICTION`: panoptic quality of COCO files or label images."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.errors import FileError, InputError, from_cell
from napari_tessera.core.file_checks import check_exists, is_zarr
from napari_tessera.core.jobs import Job
from napari_tessera.core.labels import Segments
from napari_tessera.io.coco_panoptic import read_coco_panoptic
from napari_tessera.io.read import load, read_labels, stem

CLASSES = "-classes"
"""End of the name of the class image beside the image of segments or objects."""

Reader = Callable[[], Segments]


def readers(path: Path, label_files: Callable[[Path], Mapping[str, Path]]) -> dict[str, Reader]:
    """Return a reader of the segments of each image, by the image's name.

    Parameters
    ----------
    path : Path
        A COCO panoptic .json, a label image, or a folder of label images.
    label_files : callable (folder) -> dict of name to path
        Lists the label images of a folder.

    Raises
    ------
    FileError
        If there is nothing to read.
    """
    if path.suffix.lower() == ".json":
        coco = read_coco_panoptic(path)
        return {name: partial(coco.__getitem__, number) for number, name in enumerate(coco.names)}
    if os.path.isdir(path) and not is_zarr(path):
        found = label_files(path)
        return {name: partial(read_segments, file) for name, file in found.items() if not name.endswith(CLASSES)}
    check_exists(path, may_be_folder=True)
    return {stem(path): partial(read_segments, path)}


def files_beside(path: Path) -> list[Path]:
    """List the files that may describe the labels of an image, and those that a COCO file names."""
    if path.suffix.lower() == ".json":
        coco = read_coco_panoptic(path)
        return [coco.folder / annotation["file_name"] for annotation in coco.annotations]
    classes = _classes_of(path)
    return [path.with_name(f"{stem(path)}.csv"), classes, classes.with_name(f"{stem(classes)}.csv")]


def _classes_of(path: Path) -> Path:
    return path.with_name(f"{stem(path)}{CLASSES}{path.name[len(stem(path)) :]}")


def read_segments(path: Path) -> Segments:
    """Read a label image with the classes of its labels.

    The classes are in a table with its name (.csv with the columns label, class and kind, as from `tessera panoptic`),
    or in a label image with its name and "-classes": then the first image has objects, or 0, and the second classes.

    Raises
    ------
    FileError
        If neither exists, or they do not match.
    """
    labels = load(read_labels(path)).data
    table = path.with_name(f"{stem(path)}.csv")
    classes = _classes_of(path)
    try:
        if os.path.isfile(table) and "kind" in (columns := read_table(table)):
            return Segments.of_table(labels, columns, str(path))
        if os.path.exists(classes):
            return _of_classes(labels, classes, str(path))
    except InputError as error:
        raise FileError(str(error)) from error
    raise FileError(
        f"The classes of {path} are missing. Panoptic quality needs beside it either {table.name} with the "
        f"columns label, class and kind, or {classes.name} with the class of each pixel."
    )


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Read the columns label, class, kind and score of a table, if it has them.

    Raises
    ------
    FileError
        If a label is not a number, or the file is not text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("a row has more or fewer cells than the first")
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        read = {
            name: np.array([from_cell(text) for text in columns[name]], str)
            for name in ("class", "kind")
            if name in columns
        }
        if "label" in columns:
            read["label"] = np.array([int(value) for value in columns["label"]], np.int64)
        if "score" in columns:
            read["score"] = np.array([float(value or "nan") for value in columns["score"]])
    except (ValueError, TypeError, csv.Error) as error:
        raise FileError(f"{path} is not a table of segments: {error}.") from error
    return read


def _of_classes(objects: np.ndarray, path: Path, name: str) -> Segments:
    from napari_tessera.metrics.panoptic import segments_of_classes

    table = path.with_name(f"{stem(path)}.csv")
    columns = read_table(table) if os.path.isfile(table) else {}
    is_named = "label" in columns and "class" in columns
    names = dict(zip(columns["label"].tolist(), columns["class"].tolist(), strict=True)) if is_named else {}
    return segments_of_classes(objects, load(read_labels(path)).data, names, name)


MEANS = {"things": "mean of things", "stuff": "mean of stuff", "all": "mean of all"}


class SegmentPairs(Sequence[tuple[Segments, Segments]]):
    """Truth and prediction of each image, read on access."""

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
    """Match the images of truth and prediction by name; two single images always match."""
    truths, predictions = readers(truth, label_files), readers(prediction, label_files)
    if len(truths) == len(predictions) == 1:
        return SegmentPairs(list(truths), list(truths.values()), list(predictions.values()))
    names = matched(truths, predictions)
    return SegmentPairs(names, [truths[name] for name in names], [predictions[name] for name in names])


def scoring(pairs: SegmentPairs) -> Job[dict[str, Any]]:
    """Score the pairs."""
    from napari_tessera.metrics.panoptic import panoptic_evaluation_of_many

    return panoptic_evaluation_of_many(pairs)


def rows_of(scores: Mapping[str, Any], names: Sequence[str], *, per_image: bool) -> list[list[str]]:
    """Format the scores: a line for each class and each mean, pooled, and for each image if requested."""
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
    """Return advice if truth and prediction may use two names for one class, so that nothing of it matches.

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
