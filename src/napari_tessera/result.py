"""What a run returns: label images, their tables, and the record that replays it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_tessera.spatial import Spatial
from napari_tessera.spec import Table

Kind = Literal["objects", "classes", "probabilities"]


@dataclass(frozen=True)
class LabelImage:
    """One label image, or the probabilities of one class.

    Attributes
    ----------
    name : str
        Name of the method that made it; of probabilities, the name of the class.
    data : array
        Integers, 0 is background. Probabilities are float32, 0 to 1.
    spatial : Spatial
        Where it lies in the world.
    kind : "objects", "classes" or "probabilities"
    table : dict of str to array
        One row per object (or class), in the order of the labels; may be empty.
    """

    name: str
    data: np.ndarray
    spatial: Spatial
    kind: Kind
    table: Table


@dataclass(frozen=True)
class Result:
    """What a run returns.

    Attributes
    ----------
    images : tuple of LabelImage
        One; for probabilities one per class but the background, in the order of the classes.
    provenance : dict
        Plain JSON: method, parameters, axes, spacing, inputs, versions, seconds. `tessera.run(provenance, image)`
        gives the same labels again.
    notes : tuple of str
        Plain sentences the user should read (nothing was found, something was cut).
    """

    images: tuple[LabelImage, ...]
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """The first label array, or the probabilities of the first class."""
        return self.images[0].data

    @property
    def table(self) -> Table:
        """The table of the first label array."""
        return self.images[0].table
