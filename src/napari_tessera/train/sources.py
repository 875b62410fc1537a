"""Which files to learn from: two folders, two stacks, or the lines of an index."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_tessera.errors import FileError
from napari_tessera.io.open_files import check_exists, explain_damage, is_zarr
from napari_tessera.io.read import stem

OTHER_FILES = frozenset(
    {".json", ".csv", ".txt", ".md", ".xml", ".ini", ".html", ".yaml", ".yml", ".db", ".lnk", ".tmp"}
)
"""Tables, texts and what a desktop puts into folders, such as Thumbs.db and desktop.ini: no images."""
TRAIN, VALIDATION = "train", "val"
SPLITS = {"train": TRAIN, "training": TRAIN, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION}


@dataclass(frozen=True)
class Source:
    """An image file and the file of its labels.

    Attributes
    ----------
    name : str
    image, labels : Path
    split : str
        "train" or "val"; empty where nobody has said yet.
    group : str
        Images of a kind, of which rare ones are shown more often.
    axes : str or None
        One letter for each axis of the image; None where the file says it.
    """

    name: str
    image: Path
    labels: Path
    split: str = ""
    group: str = ""
    axes: str | None = None


def from_paths(images: Path, labels: Path, split: str = "") -> list[Source]:
    """Pair two files, or the files of two folders by their names.

    Raises
    ------
    FileError
        If one is missing, a folder while the other is not, or the same as the other; or if there is no image, or an
        image has no labels.
    """
    check_two_places(images, labels)
    if _is_folder(images) != _is_folder(labels):
        raise FileError(f"{images} and {labels} must both be files or both be folders.")
    if not _is_folder(images):
        for path in (images, labels):
            check_exists(path, may_be_folder=is_zarr(path))
        return [Source(stem(images), images, labels, split)]
    truths, found = files_by_name(labels), files_by_name(images)
    for folder, files in ((images, found), (labels, truths)):
        if not files:
            raise FileError(f"{folder} holds no images. Name the folder that they are in.")
    missing = [name for name in found if name not in truths]
    if missing:
        raise FileError(
            f"{len(missing)} of {len(found)} images in {images} have no labels of the same name in {labels}"
            f": {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}. "
            "Label them, or move them elsewhere."
        )
    return [Source(name, image, truths[name], split) for name, image in found.items()]


def check_two_places(images: Path, labels: Path) -> None:
    """Refuse images or labels that are not there, and images that are to be their own labels.

    Raises
    ------
    FileError
    """
    for path in (images, labels):
        check_exists(path, may_be_folder=True, sought="file or folder")
    if images.samefile(labels):
        raise FileError(f"{images} was given twice, as images and as labels. Give the images first, then their labels.")


def from_index(index: Path, balance: Sequence[str] = ()) -> list[Source]:
    """Read a table of images: `image` and `label` are paths, or `name` is a file in `images` and in `labels` beside it.

    A column `split` says "train" or "val"; lines with anything else, such as "test", are left out.

    Raises
    ------
    FileError
        If the table, a column that is needed, or a file is missing, or the table cannot be read.
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
    """Read the lines of a table; what a short line leaves out is empty text."""
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
    missing = [row["name"] for row in rows if row["name"] not in images or row["name"] not in labels]
    if missing:
        raise FileError(
            f"There is no image or no label file for {', '.join(missing[:5])} beside the index in {folder}."
        )
    return [(row["name"], images[row["name"]], labels[row["name"]]) for row in rows]


def _named_files(folder: Path, row: Mapping[str, str]) -> tuple[str, Path, Path]:
    image, labels = folder / row["image"], folder / row["label"]
    for path in (image, labels):
        check_exists(path, may_be_folder=is_zarr(path))
    if image.samefile(labels):
        raise FileError(f"{image} is given twice in a line of the index, as image and as label. Name the labels.")
    return row.get("name") or stem(image), image, labels


def files_by_name(folder: Path) -> dict[str, Path]:
    """List the files of a folder by their names without endings; tables and texts are passed over.

    Raises
    ------
    FileError
        If two of them have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(check_exists(folder, may_be_folder=True).iterdir()):
        if (
            path.name.startswith(".")
            or path.suffix.lower() in OTHER_FILES
            or (os.path.isdir(path) and not is_zarr(path))
        ):
            continue
        if stem(path) in found:
            raise FileError(f"{folder} holds both {found[stem(path)].name} and {path.name}. Keep one of them.")
        found[stem(path)] = path
    return found


def with_validation(sources: Sequence[Source], share: float) -> list[Source]:
    """Hold back `share` of the images, at least one of several, chosen by a hash of their names.

    Where the split is given already, and where there is one file only, nothing changes.
    """
    if len(sources) < 2 or share == 0 or any(source.split for source in sources):
        return [replace(source, split=source.split or TRAIN) for source in sources]
    ranked = sorted(range(len(sources)), key=lambda index: _hash(sources[index].name))
    held = set(ranked[: min(len(sources) - 1, max(1, round(share * len(sources))))])
    return [replace(source, split=VALIDATION if index in held else TRAIN) for index, source in enumerate(sources)]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path) and not is_zarr(path)
