"""Find training images and labels in folders, stacks or an index file, and read them as planes or volumes."""

from __future__ import annotations

import csv
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_tessera.core.errors import FileError, InputError
from napari_tessera.core.file_checks import check_exists, explain_damage, is_folder, is_zarr
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.spatial import CHANNEL
from napari_tessera.io.image_file import Picture, note_on_guessed_axes
from napari_tessera.io.read import load, read_image, read_labels, stem
from napari_tessera.training.data.example import Frame

OTHER_FILES = frozenset(
    {".json", ".csv", ".txt", ".md", ".xml", ".ini", ".html", ".yaml", ".yml", ".db", ".lnk", ".tmp"}
)
"""Files that are not images: tables, texts, and system files such as Thumbs.db and desktop.ini."""
TRAIN, VALIDATION = "train", "val"
SPLITS = {"train": TRAIN, "training": TRAIN, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION}


@dataclass(frozen=True)
class Source:
    """An image file and the file of its labels."""

    name: str
    image: Path
    labels: Path
    split: str = ""  # "train" or "val"; empty if not yet decided
    group: str = ""  # kind of the image; rare kinds are used more often
    axes: str | None = None  # one letter for each axis of the image; None reads them from the file
    series: int | str | None = None  # which image of files with several; None takes the largest
    number_colors: bool = False  # labels are pictures in which each colour is a number


def from_paths(images: Path, labels: Path, split: str = "") -> list[Source]:
    """Pair two files, or the files of two folders by their names.

    A FileError says that a path is missing, only one of them is a folder, or both are the same; or that there is no
    image, or an image has no labels.
    """
    check_two_places(images, labels)
    if is_folder(images) != is_folder(labels):
        raise FileError(f"{images} and {labels} must both be files or both be folders.")
    if not is_folder(images):
        for path in (images, labels):
            check_exists(path, may_be_folder=is_zarr(path))
        return [Source(stem(images), images, labels, split)]
    truths, found = files_by_name(labels), files_by_name(images)
    for folder, files in ((images, found), (labels, truths)):
        if not files:
            raise FileError(f"{folder} has no images. Name the folder that contains them.")
    missing = [name for name in found if name not in truths]
    if missing:
        raise FileError(
            f"{len(missing)} of {len(found)} images in {images} have no labels of the same name in {labels}"
            f": {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}. "
            "Label them, or move them elsewhere."
        )
    return [Source(name, image, truths[name], split) for name, image in found.items()]


def check_two_places(images: Path, labels: Path) -> None:
    """Refuse missing images or labels, and equal paths for both."""
    for path in (images, labels):
        check_exists(path, may_be_folder=True, sought="file or folder")
    if images.samefile(labels):
        raise FileError(f"{images} was given twice, as images and as labels. Give the images first, then their labels.")


def from_index(index: Path, balance: Sequence[str] = ()) -> list[Source]:
    """Read a table of images: `image` and `label` are paths, or `name` is a file in `images` and in `labels` beside it.

    A column `split` has "train" or "val"; lines with other values, such as "test", are ignored. A FileError says that
    the table cannot be read, or the table, a needed column, or a file is missing.
    """
    rows = _rows_of(index)
    columns = set(rows[0]) if rows else set()
    missing = [column for column in balance if column not in columns]
    if not rows or not ({"image", "label"} <= columns or "name" in columns) or missing:
        needed = ", ".join(missing) or "image and label, or name"
        raise FileError(f"{index} needs the column {needed}; it has: {', '.join(sorted(columns)) or 'no lines'}.")
    used = [row for row in rows if "split" not in columns or _split(row)]
    if not used:
        raise FileError(f"No line of {index} has the split train or val.")
    return [
        Source(name, image, labels, _split(row), _group(row, balance))
        for row, (name, image, labels) in zip(used, _files_of(index.parent, used), strict=True)
    ]


def _rows_of(index: Path) -> list[dict[str, str]]:
    """Read the lines of a table; missing values at the end of a line are empty."""
    check_exists(index)
    with explain_damage(index, "a table (CSV in UTF-8)"), open(index, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, restkey="", restval=""))


def _split(row: Mapping[str, str]) -> str:
    return SPLITS.get(row.get("split", "").strip().lower(), "")


def _group(row: Mapping[str, str], balance: Sequence[str]) -> str:
    return " ".join(row[column] for column in balance)


def _files_of(folder: Path, rows: Sequence[Mapping[str, str]]) -> list[tuple[str, Path, Path]]:
    if "image" in rows[0] and "label" in rows[0]:
        return [_named_files(folder, row) for row in rows]
    images, labels = files_by_name(folder / "images"), files_by_name(folder / "labels")
    names = [row["name"] if row["name"] in images else stem(Path(row["name"])) for row in rows]
    missing = [name for name in names if name not in images or name not in labels]
    if missing:
        raise FileError(
            f"There is no image or no label file for {', '.join(missing[:5])} beside the index in {folder}."
        )
    return [(name, images[name], labels[name]) for name in names]


def _named_files(folder: Path, row: Mapping[str, str]) -> tuple[str, Path, Path]:
    image, labels = folder / row["image"], folder / row["label"]
    for path in (image, labels):
        check_exists(path, may_be_folder=is_zarr(path))
    if image.samefile(labels):
        raise FileError(f"{image} is given twice in a line of the index, as image and as label. Name the labels.")
    return row.get("name") or stem(image), image, labels


def files_by_name(folder: Path) -> dict[str, Path]:
    """List the files of a folder by their names without suffixes; tables and texts are ignored, equal names refused."""
    found: dict[str, Path] = {}
    for path in sorted(check_exists(folder, may_be_folder=True).iterdir()):
        if path.name.startswith(".") or path.suffix.lower() in OTHER_FILES or is_folder(path):
            continue
        if stem(path) in found:
            raise FileError(f"{folder} holds both {found[stem(path)].name} and {path.name}. Keep one of them.")
        found[stem(path)] = path
    return found


def with_validation(sources: Sequence[Source], share: float) -> list[Source]:
    """Hold out `share` of the images, at least one of several, chosen by a hash of their names.

    Nothing changes if the split is given, or if there is only one file.
    """
    if len(sources) < 2 or share == 0 or any(source.split for source in sources):
        return [replace(source, split=source.split or TRAIN) for source in sources]
    ranked = sorted(range(len(sources)), key=lambda index: _hash(sources[index].name))
    held = set(ranked[: min(len(sources) - 1, max(1, round(share * len(sources))))])
    return [replace(source, split=VALIDATION if index in held else TRAIN) for index, source in enumerate(sources)]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def read_frames(sources: Sequence[Source], ndim: int, share: float) -> Job[list[Frame]]:
    """Read every file into memory; of a single stack, hold out the last `share` of its planes.

    A FileError or InputError says that a file cannot be read, or an image does not match its labels.
    """
    frames: list[Frame] = []
    for done, source in enumerate(sources):
        yield Progress(done, len(sources), f"Reading {source.name}")
        image, labels = map(load, read_pair(source))
        frames += frames_of(source, image, labels, ndim)
    if len(sources) == 1 and share > 0 and len(frames) > 1:
        first = len(frames) - max(1, round(share * len(frames)))
        frames = [replace(frame, split=TRAIN if at < first else VALIDATION) for at, frame in enumerate(frames)]
    return frames


def read_pair(source: Source) -> tuple[Picture, Picture]:
    """Open an image and its labels."""
    image = read_image(source.image, axes=source.axes, series=source.series)
    return image, read_labels(source.labels, series=source.series, number_colors=source.number_colors)


def notes_on(image: Picture, labels: Picture) -> tuple[str, ...]:
    """Return notes on how the files of an image and its labels were read."""
    return (*image.notes, *note_on_guessed_axes(image), *labels.notes)


def frames_of(source: Source, image: Picture, labels: Picture, ndim: int) -> list[Frame]:
    """Cut one image into planes or volumes; other axes are processed one index at a time."""
    space, plain = "ZYX"[-ndim:], image.axes.replace(CHANNEL, "")
    if any(axis not in plain for axis in space):
        raise FileError(f"{source.image} has the axes {image.axes}, but with ndim 3 an image needs Z, Y and X.")
    check_shapes(source, image, labels)
    loops = "".join(axis for axis in plain if axis not in space)
    channel = CHANNEL if CHANNEL in image.axes else ""
    pixels = np.transpose(image.data, [image.axes.index(axis) for axis in loops + space + channel])
    truth = np.transpose(labels.data, [plain.index(axis) for axis in loops + space])
    anisotropy = image.spatial.anisotropy if ndim == 3 else 1.0
    return [
        Frame(
            source.name + "".join(f" {axis}{at}" for axis, at in zip(loops, place, strict=True)),
            np.ascontiguousarray(pixels[place]),
            np.ascontiguousarray(truth[place]),
            source.split,
            source.group,
            anisotropy,
            notes_on(image, labels),
        )
        for place in itertools.product(*(range(size) for size in truth.shape[: len(loops)]))
    ]


def check_shapes(source: Source, image: Picture, labels: Picture) -> None:
    """Refuse labels that do not have their image's shape."""
    shape = tuple(size for size, axis in zip(image.data.shape, image.axes, strict=True) if axis != CHANNEL)
    if tuple(labels.data.shape) != shape:
        raise InputError(
            f"{source.labels} has shape {tuple(labels.data.shape)}, but {source.image} has {shape} (axes "
            f"{image.axes.replace(CHANNEL, '')}). Labels must have the shape of their image."
            f"{hint_at_axes(image.data.shape, labels.data.shape)}"
        )


def hint_at_axes(shape: Sequence[int], labels_shape: Sequence[int]) -> str:
    """Return a hint on `axes`, if the image would match its labels with one axis of channels.

    Examples
    --------
    >>> hint_at_axes((2, 64, 80), (64, 80))
    ' If the axis of 2 pixels holds channels, give axes="CYX" (on the command line --axes CYX).'
    >>> hint_at_axes((256, 320), (512, 512))
    ''
    """
    plain = "TZYX"[-len(labels_shape) :]
    for at in reversed(range(len(shape))):
        if (*shape[:at], *shape[at + 1 :]) == tuple(labels_shape) and len(plain) == len(labels_shape):
            axes = plain[:at] + CHANNEL + plain[at:]
            said = f'axes="{axes}" (on the command line --axes {axes})'
            return f" If the axis of {shape[at]} pixels holds channels, give {said}."
    return ""
