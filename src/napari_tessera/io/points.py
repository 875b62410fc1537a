"""Read points from CSV files."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import check_exists, explain_damage, read_text

LARGEST_TABLE_BYTES = 2**28
"""About six million points."""


def read_points(path: str | Path) -> np.ndarray:
    r"""Read points from a CSV file.

    Parameters
    ----------
    path : str or Path
        A file as napari saves points (columns "index", "axis-0", "axis-1", …); or with columns named by axis ("y", "x"
        or "z", "y", "x", in any order; other columns are ignored); or numbers without a header, in the order of the
        image's axes. Separated by commas, semicolons or tabs.

    Returns
    -------
    array
        (N, D) float64, in pixels, in the order of the image's axes.

    Raises
    ------
    FileError
        If the file is missing, does not have such columns, or has a value that is not a number.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "seeds.csv"
    >>> _ = path.write_text("x,y\n3,1\n")
    >>> read_points(path)
    array([[1., 3.]])
    """
    path = check_exists(path)
    with explain_damage(path, "a table of points"):
        rows = _rows(path)
        if not rows:
            raise FileError("It is empty; points need a row each.")
        if all(_is_number(cell) for cell in rows[0]):
            return _numbers(rows, list(range(len(rows[0]))), first_line=1)
        return _numbers(rows[1:], _columns(rows[0]), first_line=2)


def _rows(path: Path) -> list[list[str]]:
    text = read_text(path, largest_bytes=LARGEST_TABLE_BYTES, encoding="utf-8-sig")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    return [row for row in csv.reader(text.splitlines(), delimiter=separator) if any(cell.strip() for cell in row)]


def _columns(header: list[str]) -> list[int]:
    """Return the coordinate columns, in the order of the axes."""
    names = [cell.strip().lower() for cell in header]
    numbered = sorted(
        (int(match[1]), column) for column, name in enumerate(names) if (match := re.fullmatch(r"axis-(\d+)", name))
    )
    if numbered:
        return [column for _, column in numbered]
    if {"y", "x"} <= set(names):
        return [names.index(axis) for axis in "tzyx" if axis in names]
    raise FileError(
        f"It has the columns {', '.join(header)}, but points need y, x (and z), or axis-0, axis-1, … as napari saves."
    )


def _numbers(rows: list[list[str]], columns: list[int], first_line: int) -> np.ndarray:
    points = np.empty((len(rows), len(columns)), np.float64)
    for number, row in enumerate(rows):
        try:
            points[number] = [float(row[column]) for column in columns]
        except (ValueError, IndexError):
            raise FileError(
                f"Row {number + first_line} ({', '.join(row)}) does not hold {len(columns)} numbers."
            ) from None
    return points


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
