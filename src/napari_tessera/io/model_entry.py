"""A model as lists show it: its file and what the file says of itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from napari_tessera.errors import ModelError
from napari_tessera.io.architecture import kind_of
from napari_tessera.io.model_file import read_header


@dataclass(frozen=True)
class ModelEntry:
    """A model file, as its header describes it.

    Parameters
    ----------
    name : str
        The file's name without ending; methods take it as their `model`.
    path : Path
    is_shipped : bool
        It came with Tessera; otherwise it is the user's own.
    n_bytes : int
    header : mapping
        See `io.model_file.read_header`; empty if the file cannot be used.
    error : str, optional
        Why the file cannot be used, and what to do.
    """

    name: str
    path: Path
    is_shipped: bool
    n_bytes: int
    header: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    error: str | None = None

    @property
    def title(self) -> str:
        """Name to show."""
        return str(self.header.get("title", self.name))

    @property
    def summary(self) -> str:
        """What it finds, in a line."""
        return str(self.header.get("summary", ""))

    @property
    def card(self) -> str:
        """What it was trained on, how well it does and where it fails, as Markdown."""
        return str(self.header.get("card", ""))

    @property
    def task(self) -> str:
        """What it tells apart, "objects" or "classes"."""
        return str(self.header.get("task", ""))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""
        return tuple(self.header.get("classes", ()))

    @property
    def diameter_px(self) -> float | None:
        """Usual diameter of an object at which the network works; None if it knows no size."""
        return self.header.get("diameter_px")

    @property
    def ndim(self) -> int:
        """2 for planes, 3 for volumes; 0 if the file cannot be used."""
        return int(self.header["architecture"].get("ndim", 2)) if self.header else 0

    @property
    def kind(self) -> str:
        """What kind of network it is, "unet" or "mask_rcnn"; empty if the file cannot be used."""
        return kind_of(self.header["architecture"]) if self.header else ""

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return str(self.header.get("licence", ""))

    def sha256(self) -> str:
        """Return the SHA-256 of the file, as a record names the model.

        Raises
        ------
        ModelError
            If the file is gone.
        """
        try:
            state = self.path.stat()
            return _sha256(self.path, state.st_mtime_ns, state.st_size)
        except OSError as error:
            raise ModelError(f"{self.path} cannot be read any more: {error.strerror}.") from error


def entry_of(path: Path, *, is_shipped: bool) -> ModelEntry:
    """Describe a file by its header, or by what is wrong with it."""
    try:
        header, reason = read_header(path), None
    except ModelError as error:
        header, reason = {}, str(error)
    n_bytes = path.stat().st_size if os.path.isfile(path) else 0
    return ModelEntry(path.stem, path, is_shipped, n_bytes, header, reason)


@lru_cache
def _sha256(path: Path, mtime_ns: int, n_bytes: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
