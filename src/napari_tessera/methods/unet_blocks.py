"""The U-Net on images too large to hold: brightness and scale from the whole, then block by block.

All blocks share the levels of brightness and the scale, so that each sees its part of the image as it would be seen
within the whole. Blocks overlap by as much as the network sees around a pixel and an object is wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera import catalogue
from napari_tessera.catalogue import ModelEntry
from napari_tessera.jobs import Job, part_of
from napari_tessera.methods.network_input import channels_for, check_diameter, check_dimensions, loaded
from napari_tessera.overlapping import BlockPlan, Overlapping, Stored
from napari_tessera.two_pass import Settings

if TYPE_CHECKING:
    from napari_tessera.nn.intensity import Levels

BLOCK_PX = {2: (2048, 2048), 3: (32, 1024, 1024)}
"""Planes of a volume are mostly segmented one by one, so that blocks had better be flat and wide."""
LARGEST_WHOLE_PX = {2: 2**24, 3: 2**26}
"""Larger images are worked on in blocks, wherever they lie: scores and floods take some 50 bytes a pixel."""
LARGEST_PART_PX = {2: 6e6, 3: 16e6}
"""Pixels of the network, in planes or volumes, that a block is predicted and decoded in at a time."""
OBJECTS_BEYOND = 1.5
"""How many usual diameters an object may reach beyond its block."""
PLANES_BEYOND = 3
"""How many planes beyond its block are linked, where a volume is segmented plane by plane."""
STEP_PX = 16
"""A margin of a multiple of this many pixels leaves pixels pooled as they are in the whole image."""


@dataclass(frozen=True)
class Shown:
    """The channels of a stored image that a model is shown, read window by window."""

    image: Stored
    entry: ModelEntry
    channel_axis: int | None
    channel: int

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, with the channels that are shown last, if there are any."""
        space = self.image.shape if self.channel_axis is None else self.image.shape[:-1]
        tiny = self[(slice(1),) * len(space)]
        return (*space, *tiny.shape[len(space) :])

    def __getitem__(self, window: tuple[slice, ...]) -> np.ndarray:
        """Read a window."""
        return channels_for(self.entry, self.image[window], self.channel_axis, self.channel, "unet")[0]


def overlapping(**settings: Any) -> Overlapping:
    """Say what is looked at over the whole image, and how blocks are labelled then."""
    from napari_tessera.methods.image_levels import LEVELS

    entry = catalogue.find(settings["model"])
    return Overlapping((LEVELS, {**settings, "entry": entry}), partial(_plan, entry, settings))


def is_better_in_blocks(shape: tuple[int, ...], *, output: str, volume: str, model: str, **_: Any) -> bool:
    """Say whether an image is so large that blocks keep memory low; probabilities are as large in any case."""
    seen_at_once = shape[1:] if _is_plane_by_plane(catalogue.find(model), len(shape), volume) else shape
    return output != "probabilities" and prod(seen_at_once) > LARGEST_WHOLE_PX[len(seen_at_once)]


def _plan(entry: ModelEntry, settings: Settings, fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
    """Find the scale from windows spread over the image, and plan the blocks."""
    from napari_tessera.large.seeing import Looking, find_scale
    from napari_tessera.large.view import View

    n_space = len(image.shape) - (settings["channel_axis"] is not None)
    check_dimensions(entry, n_space, "unet")
    check_diameter(entry, settings["diameter"], image.shape[:n_space], "unet")
    network = yield from part_of(loaded(entry, settings["device"]), 0, 1, 4)
    shown = Shown(image, entry, settings["channel_axis"], settings["channel"])
    spacing = settings["spacing"] or (1.0,) * n_space
    view = View(shown, fitted["levels"], len(shown.shape) > n_space, spacing)
    looking = Looking(settings["diameter"], tile_px=settings["tile"])
    factor, _ = yield from part_of(find_scale(network, view, looking), 1, 3, 4)
    usual_px = network.header.get("diameter_px")
    is_plane_by_plane = _is_plane_by_plane(entry, n_space, settings["volume"])
    margins = _margins(network.halo_px + OBJECTS_BEYOND * (usual_px or 0), view.factors(factor), is_plane_by_plane)
    fixed = {**settings, "diameter": usual_px and usual_px / factor}
    return BlockPlan(
        label=partial(label_block, entry=entry, levels=fitted["levels"], **fixed),
        reach=margins,
        parts=partial(_parts, margins, view.factors(factor), is_plane_by_plane),
        is_threaded=True,
        smallest_px=settings["min_size"] or 0,
    )


def _is_plane_by_plane(entry: ModelEntry, n_space: int, volume: str) -> bool:
    return entry.ndim < n_space and volume == "planes"


def _margins(beyond_px: float, factors: Sequence[float], is_plane_by_plane: bool) -> tuple[int, ...]:
    """How far around a block to look, in pixels of the image, given how far the network must see in its own."""
    margins = [ceil(beyond_px / factor / STEP_PX) * STEP_PX for factor in factors]
    return (PLANES_BEYOND, *margins[1:]) if is_plane_by_plane else tuple(margins)


def _parts(
    margins: Sequence[int], factors: Sequence[float], is_plane_by_plane: bool, block: Sequence[int]
) -> tuple[int, ...]:
    """Halve a block along its longest side until a part is small enough, or hardly larger than its margins."""
    axes = range(is_plane_by_plane, len(block))
    parts = [1] * len(block)

    def part_px(axis: int) -> float:
        return (block[axis] / parts[axis] + 2 * margins[axis]) * factors[axis]

    while prod(part_px(axis) for axis in axes) > LARGEST_PART_PX[len(axes)]:
        longest = max(axes, key=lambda axis: block[axis] / parts[axis] * factors[axis])
        if block[longest] <= 2 * parts[longest] * margins[longest]:
            break
        parts[longest] *= 2
    return tuple(parts)


def label_block(block: np.ndarray, *, entry: ModelEntry, levels: Levels, **settings: Any) -> Job[np.ndarray]:
    """Segment one block as a part of the image that has these levels; small objects stay until blocks are joined."""
    from napari_tessera.large.instances import Wanted
    from napari_tessera.large.seeing import Looking
    from napari_tessera.large.view import View
    from napari_tessera.large.volumes import Stacking, segment

    channel_axis = settings["channel_axis"]
    shown, has_channels = channels_for(entry, block, channel_axis, settings["channel"], "unet")
    network = yield from part_of(loaded(entry, settings["device"]), 0, 1, 20)
    spacing = settings["spacing"] or (1.0,) * (block.ndim - (channel_axis is not None))
    looking = Looking(settings["diameter"], settings["averaging"], settings["tile"])
    wanted = Wanted(settings["output"], settings["level"], None if settings["min_size"] is None else 0)
    stacking = Stacking(settings["volume"] == "orientations", settings["overlap"])
    segmenting = segment(network, View(shown, levels, has_channels, spacing), looking, wanted, stacking)
    return (yield from part_of(segmenting, 1, 19, 20))
