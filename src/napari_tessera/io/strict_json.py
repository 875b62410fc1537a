"""JSON from an unknown source: what would be ambiguous, endless or too deep is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from napari_tessera.errors import FileError
from napari_tessera.io.open_files import check_exists

DEEPEST = 32
LONGEST_NUMBER = 19
"""Characters of a whole number; 64 bits have no more."""
LARGEST_BYTES = 2**26
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def read_json(path: Path, deepest: int = DEEPEST) -> Any:
    """Read JSON from an ordinary file that is not too large to be what is sought; see `parse_json`.

    Raises
    ------
    ValueError
        If it is no such file, or no such JSON.
    FileError
        If it is not there, or cannot be opened.
    """
    if not check_exists(path).is_file():
        raise ValueError("it is no ordinary file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES} bytes")
    return parse_json(content.decode("utf-8-sig"), deepest)


def parse_json(text: str, deepest: int = DEEPEST) -> Any:
    """Parse JSON, strictly.

    Raises
    ------
    ValueError
        If it is no JSON, a key is given twice, a number is endless or NaN, half a character stands alone, or it is
        nested in more than `deepest` levels.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=unique_keys,
            parse_int=short_int,
            parse_float=finite_float,
            parse_constant=finite_float,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if is_deeper(value, deepest):
        raise ValueError("it is nested too deeply")
    if HALF_CHARACTER.search(text) and not is_unicode(json.dumps(value, ensure_ascii=False)):
        raise ValueError("it holds half of a character, which no file can take")
    return value


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can write a text, which it cannot where half of a pair of surrogates stands alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of pairs whose keys differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it says something twice")
    return found


def short_int(text: str) -> int:
    """Read a whole number of a sensible size."""
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"it holds a number of {len(text)} digits")
    return int(text)


def finite_float(text: str) -> float:
    """Read a number that is neither infinite nor NaN."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it holds the number {text:.20}")
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Say whether lists and dicts are nested in more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(each, levels - 1) for each in inner)


def without_nan(value: Any) -> Any:
    """Copy plain JSON with null in place of NaN and infinity, which JSON cannot say."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
