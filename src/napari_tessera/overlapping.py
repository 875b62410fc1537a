"""Methods whose blocks overlap: what all blocks share, and how each is labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from napari_tessera.jobs import Job
from napari_tessera.result import Chosen
from napari_tessera.two_pass import Settings, TwoPass


class Stored(Protocol):
    """One frame of an image that is read piece by piece: spatial axes first, then channels if there are any."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    def __getitem__(self, window: Any, /) -> np.ndarray:
        """Read a window: a slice for each axis in space."""
        ...


@dataclass(frozen=True)
class BlockPlan:
    """How the blocks of one image are labelled, once the whole of it has been looked at.

    Attributes
    ----------
    label : callable (block, **other inputs) -> job of labels, or of labels and a table
        Everything that blocks share is fixed in it. Workers elsewhere get it pickled.
    reach : tuple of int
        How many pixels around a block are looked at, along each spatial axis: enough to see an object that the block
        cuts, and what decides its outline.
    parts : callable (block) -> tuple of int, optional
        Into how many parts a block of these sides is cut along each axis, where it would take too much memory at once.
    aligned : callable (Tile) -> Tile, optional
        Widens what a tile of the image reads, where not every pixel is a good one to begin or end at.
    told : callable (Tile) -> dict, optional
        What else `label` is told of a tile.
    is_threaded : bool
        Whether a block keeps all processors busy by itself, so that one at a time is enough.
    smallest_px : int
        Objects of fewer pixels are dropped when they have been joined.
    notes : tuple of str
        Plain sentences about the whole image.
    chosen : dict
        What was found out about the whole image and is worth to be told; see `Found`.
    """

    label: Callable[..., Any]
    reach: tuple[int, ...]
    parts: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
    aligned: Callable[[Any], Any] | None = None
    told: Callable[[Any], Mapping[str, Any]] | None = None
    is_threaded: bool = False
    smallest_px: int = 0
    notes: tuple[str, ...] = ()
    chosen: Chosen = field(default_factory=dict)


@dataclass(frozen=True)
class Overlapping:
    """A method that looks at the whole image before its blocks are labelled alike.

    Attributes
    ----------
    measured : (TwoPass, settings) or None
        What is summed up over all blocks, and with which settings; only the first pass is used.
    plan : callable (fitted, Stored) -> Job of BlockPlan
        What follows from the sums (an empty dict where there are none) and, where that is not enough, from windows
        of the image.
    """

    measured: tuple[TwoPass, Settings] | None
    plan: Callable[[Mapping[str, Any], Stored], Job[BlockPlan]]


def from_parts(
    function: Callable[..., Any],
    reach: Callable[[Mapping[str, Any]], int | None],
    measured: tuple[TwoPass, Settings, Callable[[dict[str, Any]], Settings]] | None,
    settings: Mapping[str, Any],
) -> Overlapping:
    """Describe a method that needs at most one measurement of the whole image, and puts it among its settings."""

    def plan(fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
        yield from ()
        fixed = dict(settings) if measured is None else measured[2](dict(fitted))
        n_space = len(image.shape) - (settings["channel_axis"] is not None)
        return BlockPlan(partial(function, **fixed), (reach(settings) or 0,) * n_space)

    return Overlapping(measured and measured[:2], plan)
