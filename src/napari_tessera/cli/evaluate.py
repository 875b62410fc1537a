"""`tessera evaluate TRUTH PREDICTION`: score label images."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.cli import evaluate_panoptic as panoptic_scores
from napari_tessera.cli import options
from napari_tessera.cli.evaluate_panoptic import files_beside
from napari_tessera.cli.terminal import Parser, progress_bar, say
from napari_tessera.core.atomic_writes import check_free, written_together
from napari_tessera.core.errors import FileError, InputError, printable
from napari_tessera.core.file_checks import is_zarr
from napari_tessera.core.jobs import run_job
from napari_tessera.core.labels import looks_like_an_image
from napari_tessera.core.memory import check_room
from napari_tessera.io.image_file import with_records
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


class LabelPairs(Sequence[tuple[np.ndarray, np.ndarray]]):
    """Truth and prediction of each image, read on access; `doubtful` are files that look like images."""

    def __init__(self, files: Sequence[tuple[Path, Path]]) -> None:
        self.files = files
        self.doubtful: list[Path] = []

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: Any) -> Any:
        truth_path, prediction_path = self.files[number]
        truth, prediction = load(read_labels(truth_path)).data, load(read_labels(prediction_path)).data
        if truth.shape != prediction.shape:
            raise InputError(
                f"{truth_path} has shape {truth.shape}, but {prediction_path} has {prediction.shape}. "
                "They must be of the same image."
            )
        labels = {truth_path: truth, prediction_path: prediction}
        self.doubtful += [path for path, data in labels.items() if looks_like_an_image(data)]
        return truth, prediction

    def doubts(self) -> list[str]:
        """Return which files, among those read, are probably not labels."""
        return [
            f"{path} looks like an image: most pixels differ from the next. Give label images, in which "
            "all pixels of an object have one number."
            for path in dict.fromkeys(self.doubtful)
        ]


def main(argv: list[str]) -> int:
    """Score label images and print the scores; return the exit code."""
    arguments = options.parsed(evaluate_parser(), argv)
    check_room("scipy.linalg", "SciPy, which matches the objects,")
    if arguments.json is not None:
        check_free([arguments.json], overwrite=arguments.overwrite, inputs=_files_in(arguments))
    evaluate = _evaluate_panoptic if arguments.task == "panoptic" else _evaluate_labels
    scores, names, table = evaluate(arguments)
    if not arguments.quiet:
        say(table)
    if arguments.json is not None:
        _write_json(arguments.json, scores, names, overwrite=arguments.overwrite)
    return 0


def _files_in(arguments: argparse.Namespace) -> list[Path]:
    """List the files that are read, and the files that belong to them."""
    given = (arguments.truth, arguments.prediction)
    files = [file for path in given for file in (_by_name(path).values() if _is_folder(path) else [path])]
    return [*with_records(files), *(beside for file in files for beside in files_beside(file))]


def _evaluate_labels(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str], str]:
    from napari_tessera.metrics.segmentation import evaluation_of_many

    files = pair_files(arguments.truth, arguments.prediction, only_predicted=arguments.only_predicted)
    pairs = LabelPairs(files)
    with progress_bar("evaluate", is_quiet=arguments.quiet) as on_progress:
        scores = run_job(evaluation_of_many(pairs, task=arguments.task), on_progress)
    if not arguments.quiet:
        for doubt in pairs.doubts():
            say(f"tessera: {doubt}", is_error=True)
    names = [stem(truth) for truth, _ in files]
    return scores, names, as_table(scores, names, per_image=arguments.per_image, task=arguments.task)


def _evaluate_panoptic(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str], str]:
    def matched(truths: Mapping[str, Any], predictions: Mapping[str, Any]) -> list[str]:
        where = (arguments.truth, arguments.prediction)
        return match_names(truths, predictions, *where, only_predicted=arguments.only_predicted)

    pairs = panoptic_scores.pairs_of(arguments.truth, arguments.prediction, _by_name, matched)
    with progress_bar("evaluate", is_quiet=arguments.quiet) as on_progress:
        scores = run_job(panoptic_scores.scoring(pairs), on_progress)
    if not arguments.quiet and (advice := panoptic_scores.advice_on_names(scores)):
        say(f"tessera: {advice}", is_error=True)
    rows = panoptic_scores.rows_of(scores, pairs.names, per_image=arguments.per_image)
    return scores, list(pairs.names), _lined_up(rows)


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
    parser.add_argument("--per-image", action="store_true", help="print a line for each image too")
    parser.add_argument("--only-predicted", action="store_true", help="leave out truths that have no prediction")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores to a file")
    parser.add_argument("--overwrite", action="store_true", help="replace that file if it exists")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def pair_files(truth: Path, prediction: Path, *, only_predicted: bool) -> list[tuple[Path, Path]]:
    """Match label files by name.

    Raises
    ------
    FileError
        If one is a folder and the other is not, nothing matches, or a truth has no prediction.
    """
    if _is_folder(truth) != _is_folder(prediction):
        raise FileError(f"{truth} and {prediction} must both be files or both be folders.")
    if not _is_folder(truth):
        return [(truth, prediction)]
    truths, predictions = _by_name(truth), _by_name(prediction)
    names = match_names(truths, predictions, truth, prediction, only_predicted=only_predicted)
    return [(truths[name], predictions[name]) for name in names]


def match_names(
    truths: Mapping[str, Any], predictions: Mapping[str, Any], truth: Path, prediction: Path, *, only_predicted: bool
) -> list[str]:
    """List the names that both have.

    Raises
    ------
    FileError
        If there is no common name, or a truth has no prediction.
    """
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


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path) and not is_zarr(path)


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in LABEL_ENDINGS or path.name.startswith("."):
            continue
        if stem(path) in found:
            raise FileError(f"{folder} has both {found[stem(path)].name} and {path.name}. Keep one of them.")
        found[stem(path)] = path
    return found


def as_table(scores: Mapping[str, Any], names: Sequence[str], *, per_image: bool, task: str) -> str:
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
    return _lined_up(rows)


def _lined_up(rows: Sequence[Sequence[str]]) -> str:
    rows = [[printable(cell) for cell in row] for row in rows]  # file names may contain new lines
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(_line(row, widths).rstrip() for row in rows)


def _cells(scores: Mapping[str, Any], columns: Mapping[str, tuple[str, ...]]) -> list[str]:
    cells = []
    for keys in columns.values():
        value: Any = scores
        for key in keys:
            value = value[key]
        is_count = keys[0] in COUNTS
        cells.append(str(value) if isinstance(value, int) else f"{value:.1f}" if is_count else f"{value:.4f}")
    return cells


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    return "  ".join(
        [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    )


def _write_json(path: Path, scores: Mapping[str, Any], names: Sequence[str], *, overwrite: bool) -> None:
    images = [{"name": name, **image} for name, image in zip(names, scores["images"], strict=True)]
    with written_together([path], overwrite=overwrite) as (part,):
        part.write_text(json.dumps({**scores, "images": images}, indent=2) + "\n", encoding="utf-8")
