"""What networks of all kinds need to see images block by block: the channels shown, and how far to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.catalogue import ModelEntry
from napari_tessera.methods.network_input import channels_for, check_diameter, check_dimensions
from napari_tessera.overlapping import BlockPlan, Stored
from napari_tessera.result import Chosen
from napari_tessera.two_pass import Settings

if TYPE_CHECKING:
    from napari_tessera.kernels.grid import Grid
    from napari_tessera.large.sight import Sight
    from napari_tessera.large.view import View
    from napari_tessera.nn.intensity import Levels


@dataclass(frozen=True)
class Shown:
    """The channels of a stored image that a model is shown, read window by window.

    Attributes
    ----------
    image : Stored
    entry : ModelEntry
    channel_axis : int or None
    channel : int
    method : str
        Name for error messages.
    """

    image: Stored
    entry: ModelEntry
    channel_axis: int | None
    channel: int
    method: str

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, with the channels that are shown last, if there are any."""
        space = self.image.shape if self.channel_axis is None else self.image.shape[:-1]
        tiny = self[(slice(1),) * len(space)]
        return (*space, *tiny.shape[len(space) :])

    def __getitem__(self, window: tuple[slice, ...]) -> np.ndarray:
        """Read a window."""
        return channels_for(self.entry, self.image[window], self.channel_axis, self.channel, self.method)[0]


def view_of(entry: ModelEntry, image: Stored, levels: Levels, settings: Settings, method: str) -> View:
    """Check that a stored image suits a model, and show it with the levels of the whole.

    Raises
    ------
    InputError, ParameterError
    """
    from napari_tessera.large.view import View
    from napari_tessera.nn.intensity import turned

    n_space = len(image.shape) - (settings["channel_axis"] is not None)
    check_dimensions(entry, n_space, method)
    check_diameter(entry, settings["diameter"], image.shape[:n_space], method)
    shown = Shown(image, entry, settings["channel_axis"], settings["channel"], method)
    spacing = settings["spacing"] or (1.0,) * n_space
    return View(shown, turned(levels, settings["objects"], entry.header), len(shown.shape) > n_space, spacing)


def sight_over(view: View, factor: float, beyond_px: float, step: int, is_plane_by_plane: bool) -> Sight:
    """Say how far around its blocks a network must see, on the grid of the whole image."""
    from napari_tessera.kernels.grid import Grid
    from napari_tessera.large.sight import Sight

    grid = view.laid(factor)
    if is_plane_by_plane:
        grid = Grid.over(grid.shape, (grid.shape[0], *grid.size[1:]))
    return Sight(grid, beyond_px, step, is_plane_by_plane)


def _told(sight: Sight, tile: Any) -> dict[str, Grid]:
    return {"grid": sight.over(tile)}


def plan_of(
    label: Callable[..., Any], sight: Sight, smallest_px: int, notes: tuple[str, ...], chosen: Chosen
) -> BlockPlan:
    """Plan blocks that are seen as far as a network needs."""
    return BlockPlan(
        label=label,
        reach=sight.margins,
        parts=sight.parts,
        aligned=sight.aligned,
        told=partial(_told, sight),
        is_threaded=True,
        smallest_px=smallest_px,
        notes=notes,
        chosen=chosen,
    )
