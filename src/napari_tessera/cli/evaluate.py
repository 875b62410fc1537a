"""`tessera evaluate TRUTH PREDICTION`: score label images, or with --task panoptic things and stuff."""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.cli import options
from napari_tessera.cli.terminal import Parser, progress_bar, say
from napari_tessera.core.atomic_writes import check_free, written_together
from napari_tessera.core.errors import FileError, InputError, from_cell, printable
from napari_tessera.core.file_checks import check_exists, is_folder
from napari_tessera.core.jobs import run_job
from napari_tessera.core.labels import Segments, looks_like_an_image
from napari_tessera.core.memory import check_room
from napari_tessera.io.coco_panoptic import read_coco_panoptic
from napari_tessera.io.image_file import note_on_guessed_axes, with_records
from napari_tessera.io.read import TIFF_ENDINGS, load, read_labels, stem

LABEL_ENDINGS = (*TIFF_ENDINGS, ".png", ".bmp", ".gif", ".npy", ".npz", ".zarr")
OBJECT_SCORES = {
    "AP@0.50": ("ap", "0.50"),
    "AP@0.75": ("ap", "0.75"),
    "mean AP": ("map",),
    "F1": ("f1",),
    "precision": ("precision",),
    "recall": ("recall",),
    "PQ": ("pq",),
    "Dice": ("dice",),
    "IoU": ("iou",),
    "splits": ("splits",),
    "merges": ("merges",),
    "true objects": ("truth_objects",),
    "predicted": ("predicted_objects",),
}
COUNTS = ("splits", "merges", "truth_objects", "predicted_objects")
CLASS_SCORES = {
    "mean Dice": ("mean_dice",),
    "mean IoU": ("mean_iou",),
    "accuracy": ("accuracy",),
    "Dice": ("dice",),
    "IoU": ("iou",),
}


MEANS = {"things": "mean of things", "stuff": "mean of stuff", "all": "mean of all"}
CLASSES = "-classes"
"""End of the name of the class image beside the image of segments or objects."""

Reader = Callable[[], Segments]
Scored = tuple[dict[str, Any], list[str], list[list[str]]]
"""All scores, the names of the images, and the rows of the table to print."""
Source = tuple[str, Callable[[], Any]]
"""What a label image is called in errors, and its reader, which returns labels or `Segments`."""


class Pairs(Sequence[tuple[Any, Any]]):
    """Truth and prediction of each image, read on access."""

    def __init__(self, sources: Sequence[tuple[Source, Source]]) -> None:
        self.sources = sources

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, number: Any) -> Any:
        (true_name, read_truth), (name, read_prediction) = self.sources[number]
        truth, prediction = read_truth(), read_prediction()
        shape, predicted = (getattr(each, "labels", each).shape for each in (truth, prediction))
        if shape != predicted:
            raise InputError(
                f"{true_name} has shape {shape}, but {name} has {predicted}. They must be of the same image."
            )
        return truth, prediction


def main(argv: list[str]) -> int:
    """Score label images and print the scores; return the exit code."""
    arguments = options.parsed(evaluate_parser(), argv)
    check_room("scipy.linalg", "SciPy, which matches the objects,")
    if arguments.json is not None:
        check_free([arguments.json], overwrite=arguments.overwrite, inputs=_files_in(arguments))
    evaluate = _evaluate_panoptic if arguments.task == "panoptic" else _evaluate_labels
    scores, names, rows = evaluate(arguments)
    if not arguments.quiet:
        say(_lined_up(rows))
    if arguments.json is not None:
        _write_json(arguments.json, scores, names, overwrite=arguments.overwrite)
    return 0


def _files_in(arguments: argparse.Namespace) -> list[Path]:
    """List the files that are read, and the files that belong to them."""
    given = (arguments.truth, arguments.prediction)
    files = [file for path in given for file in (_by_name(path).values() if is_folder(path) else [path])]
    return [*with_records(files), *(beside for file in files for beside in _files_beside(file))]


def _evaluate_labels(arguments: argparse.Namespace) -> Scored:
    from napari_tessera.core.labels import numbers_in_pieces
    from napari_tessera.metrics.segmentation import evaluation_of_many

    files = pair_files(arguments.truth, arguments.prediction, only_predicted=arguments.only_predicted)
    doubtful: dict[Path, None] = {}
    notes: dict[str, Path] = {}
    reading = options.reading(arguments)

    def read(path: Path) -> np.ndarray:
        picture = load(read_labels(path, **reading))
        for note in (*picture.notes, *note_on_guessed_axes(picture)):
            notes.setdefault(note, path)
        data: np.ndarray = picture.data
        if looks_like_an_image(data):
            doubtful[path] = None
        elif arguments.task == "objects" and (count := len(numbers_in_pieces(data))):
            number = "1 label lies" if count == 1 else f"{count} labels lie"
            notes[f"{number} on several separate pieces, which count as one object; number them if they are more."] = (
                path
            )
        return data

    def source(path: Path) -> Source:
        return str(path), partial(read, path)

    pairs = Pairs([(source(truth), source(prediction)) for truth, prediction in files])
    with progress_bar("evaluate", is_quiet=arguments.quiet) as on_progress:
        scores = run_job(evaluation_of_many(pairs, task=arguments.task), on_progress)
    for note, path in () if arguments.quiet else notes.items():
        say(f"{path}: {note}", is_error=True)
    for path in () if arguments.quiet else doubtful:
        say(
            f"tessera: {path} looks like an image: most pixels differ from the next. Give label images, in which "
            "all pixels of an object have one number.",
            is_error=True,
        )
    names = [stem(truth) for truth, _ in files]
    return scores, names, _label_rows(scores, names, per_image=arguments.per_image, task=arguments.task)


def _evaluate_panoptic(arguments: argparse.Namespace) -> Scored:
    from napari_tessera.metrics.panoptic import panoptic_evaluation_of_many

    paths = (arguments.truth, arguments.prediction)
    truths, predictions = (segment_readers(path, **options.reading(arguments)) for path in paths)
    if len(truths) == len(predictions) == 1:  # two single images always match
        names = list(truths)
        predictions = dict(zip(names, predictions.values(), strict=True))
    else:
        names = match_names(truths, predictions, *paths, only_predicted=arguments.only_predicted)
    pairs = Pairs([((f"{name}: the truth", truths[name]), ("the prediction", predictions[name])) for name in names])
    with progress_bar("evaluate", is_quiet=arguments.quiet) as on_progress:
        scores = run_job(panoptic_evaluation_of_many(pairs), on_progress)
    if not arguments.quiet and (advice := advice_on_names(scores)):
        say(f"tessera: {advice}", is_error=True)
    return scores, names, _panoptic_rows(scores, names, per_image=arguments.per_image)


def evaluate_parser() -> argparse.ArgumentParser:
    """Make the parser of `tessera evaluate`."""
    parser = Parser(
        prog="tessera evaluate", allow_abbrev=False,
        description="Score labels against the truth. Two folders are matched by the names of their files.",
    )  # fmt: skip
    for name in ("truth", "prediction"):
        what = "label image, or folder of them; with --task panoptic also a COCO panoptic .json"
        parser.add_argument(name, type=Path, metavar=name.upper(), help=what)
    parser.add_argument(
        "--task", choices=("objects", "classes", "panoptic"), default="objects",
        help="what the labels are [default: objects]; panoptic scores things and stuff (PQ, SQ, RQ by class), and "
        "beside each label image lies its .csv with the columns "
        "label, class and kind, as `tessera panoptic` writes it, or an image of classes named NAME-classes",
    )  # fmt: skip
    parser.add_argument(
        "--axes", type=options.axis_letters, help="one letter per axis of the labels [default: as the files say]"
    )
    options.add_file_options(parser)
    parser.add_argument("--per-image", action="store_true", help="print a line for each image too")
    parser.add_argument("--only-predicted", action="store_true", help="leave out truths that have no prediction")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores to a file")
    parser.add_argument("--overwrite", action="store_true", help="replace that file if it exists")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def pair_files(truth: Path, prediction: Path, *, only_predicted: bool) -> list[tuple[Path, Path]]:
    """Match label files by name."""
    if is_folder(truth) != is_folder(prediction):
        raise FileError(f"{truth} and {prediction} must both be files or both be folders.")
    if not is_folder(truth):
        return [(truth, prediction)]
    truths, predictions = _by_name(truth), _by_name(prediction)
    names = match_names(truths, predictions, truth, prediction, only_predicted=only_predicted)
    return [(truths[name], predictions[name]) for name in names]


def match_names(
    truths: Mapping[str, Any], predictions: Mapping[str, Any], truth: Path, prediction: Path, *, only_predicted: bool
) -> list[str]:
    """List the names that both have; refuse a truth without a prediction."""
    missing = [name for name in truths if name not in predictions]
    if missing and not only_predicted:
        raise FileError(
            f"{len(missing)} of {len(truths)} label images in {truth} have no prediction in {prediction}: "
            f"{', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}. Add --only-predicted to leave them out."
        )
    if extra := [name for name in predictions if name not in truths]:
        say(f"tessera: {len(extra)} predictions have no truth and are left out.", is_error=True)
    names = [name for name in truths if name in predictions]
    if not names:
        raise FileError(f"No label image in {truth} has the name of one in {prediction}.")
    return names


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in LABEL_ENDINGS or path.name.startswith("."):
            continue
        if stem(path) in found:
            raise FileError(f"{folder} has both {found[stem(path)].name} and {path.name}. Keep one of them.")
        found[stem(path)] = path
    return found


def _label_rows(scores: Mapping[str, Any], names: Sequence[str], *, per_image: bool, task: str) -> list[list[str]]:
    """Format the scores: a line for each image if requested, then the mean over images and all images pooled."""
    columns = CLASS_SCORES if task == "classes" else OBJECT_SCORES
    rows = [["image", *columns]]
    if per_image:
        rows += [[name, *_cells(image, columns)] for name, image in zip(names, scores["images"], strict=True)]
    rows.append([f"mean of {len(names)}", *_cells(scores["mean"], columns)])
    rows.append(["pooled", *_cells(scores["pooled"], columns)])
    if not per_image:
        rows = [list(row) for row in zip(*rows, strict=True)]
        rows[0][0] = "score"
    return rows


def _lined_up(rows: Sequence[Sequence[str]]) -> str:
    rows = [[printable(cell) for cell in row] for row in rows]  # file names may contain new lines
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _cells(scores: Mapping[str, Any], columns: Mapping[str, tuple[str, ...]]) -> list[str]:
    cells = []
    for keys in columns.values():
        value: Any = scores
        for key in keys:
            value = value[key]
        is_count = keys[0] in COUNTS
        cells.append(str(value) if isinstance(value, int) else f"{value:.1f}" if is_count else f"{value:.4f}")
    return cells


def _write_json(path: Path, scores: Mapping[str, Any], names: Sequence[str], *, overwrite: bool) -> None:
    images = [{"name": name, **image} for name, image in zip(names, scores["images"], strict=True)]
    with written_together([path], overwrite=overwrite) as (part,):
        part.write_text(json.dumps({**scores, "images": images}, indent=2) + "\n", encoding="utf-8")


def segment_readers(path: Path, **reading: Any) -> dict[str, Reader]:
    """Return a reader of the segments of each image in a COCO file, a label image or a folder, by the image's name."""
    if path.suffix.lower() == ".json":
        coco = read_coco_panoptic(path)
        return {name: partial(coco.__getitem__, number) for number, name in enumerate(coco.names)}
    if is_folder(path):
        files = _by_name(path).items()
        return {name: partial(read_segments, file, **reading) for name, file in files if not name.endswith(CLASSES)}
    check_exists(path, may_be_folder=True)
    return {stem(path): partial(read_segments, path, **reading)}


def _files_beside(path: Path) -> list[Path]:
    """List the files that may describe the labels of an image, and those that a COCO file names."""
    if path.suffix.lower() == ".json":
        coco = read_coco_panoptic(path)
        return [coco.folder / annotation["file_name"] for annotation in coco.annotations]
    classes = _classes_of(path)
    return [path.with_name(f"{stem(path)}.csv"), classes, classes.with_name(f"{stem(classes)}.csv")]


def _classes_of(path: Path) -> Path:
    return path.with_name(f"{stem(path)}{CLASSES}{path.name[len(stem(path)) :]}")


def read_segments(path: Path, **reading: Any) -> Segments:
    """Read a label image with the classes of its labels.

    The classes are in a table with its name (.csv with the columns label, class and kind, as from `tessera panoptic`),
    or in a label image with its name and "-classes": then the first image has objects, or 0, and the second classes.
    """
    labels = load(read_labels(path, **reading)).data
    table = path.with_name(f"{stem(path)}.csv")
    classes = _classes_of(path)
    try:
        if os.path.isfile(table) and "kind" in (columns := read_table(table)):
            return Segments.of_table(labels, columns, str(path))
        if os.path.exists(classes):
            return _of_classes(labels, classes, str(path), **reading)
    except InputError as error:
        raise FileError(str(error)) from error
    raise FileError(
        f"The classes of {path} are missing. Panoptic quality needs beside it either {table.name} with the "
        f"columns label, class and kind, or {classes.name} with the class of each pixel."
    )


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Read the columns label, class, kind and score of a table, if it has them."""
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


def _of_classes(objects: np.ndarray, path: Path, name: str, **reading: Any) -> Segments:
    from napari_tessera.metrics.panoptic import segments_of_classes

    table = path.with_name(f"{stem(path)}.csv")
    columns = read_table(table) if os.path.isfile(table) else {}
    is_named = "label" in columns and "class" in columns
    names = dict(zip(columns["label"].tolist(), columns["class"].tolist(), strict=True)) if is_named else {}
    return segments_of_classes(objects, load(read_labels(path, **reading)).data, names, name)


def _panoptic_rows(scores: Mapping[str, Any], names: Sequence[str], *, per_image: bool) -> list[list[str]]:
    """Format the scores: a line for each class and each mean, pooled, and for each image if requested."""
    rows = [["class", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN"]]
    pooled = scores["pooled"]
    for name, each in pooled["classes"].items():
        counts = [str(each[key]) for key in ("tp", "fp", "fn")]
        rows.append([name, each["kind"], *_qualities(each), *counts])
    for group, title in MEANS.items():
        rows.append([f"{title} ({pooled[group]['n']})", "", *_qualities(pooled[group]), "", "", ""])
    if per_image:
        for name, image in zip(names, scores["images"], strict=True):
            rows.append([f"image {name}", "", *_qualities(image["all"]), "", "", ""])
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


def _qualities(scores: Mapping[str, Any]) -> list[str]:
    return ["-" if scores[key] is None else f"{scores[key]:.4f}" for key in ("pq", "sq", "rq")]
