"""The U-Net on images too large to hold: brightness and scale from the whole, then block by block.

All blocks share the levels of brightness and the scale, so that each sees its part of the image as it would be seen
within the whole. Blocks overlap by as much as the network sees around a pixel and an object is wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera import catalogue
from napari_tessera.catalogue import ModelEntry
from napari_tessera.jobs import Job, part_of
from napari_tessera.methods.network_blocks import plan_of, sight_over, view_of
from napari_tessera.methods.network_input import channels_for, loaded
from napari_tessera.methods.network_told import chosen_diameter, notes_on_scale, notes_on_stored, notes_on_volume
from napari_tessera.overlapping import BlockPlan, Overlapping, Stored
from napari_tessera.two_pass import Settings

if TYPE_CHECKING:
    from napari_tessera.kernels.grid import Grid
    from napari_tessera.nn.intensity import Levels

BLOCK_PX = {2: (2048, 2048), 3: (32, 1024, 1024)}
"""Planes of a volume are mostly segmented one by one, so that blocks had better be flat and wide."""
SMALLEST_BLOCK_PX = {2: (32, 32), 3: (4, 32, 32)}
"""Around smaller blocks, nearly all time would go into what they are seen with."""
LARGEST_WHOLE_PX = {2: 16e6, 3: 16e6}
"""Larger images are worked on in blocks, wherever they lie: a whole one takes some 80 bytes a pixel."""
OBJECTS_BEYOND = 1.5
"""How many usual diameters an object may reach beyond its block."""
WIDEST_OBJECT_PX = 128
"""How far an object may reach beyond its block where the model knows no usual diameter."""


def overlapping(**settings: Any) -> Overlapping:
    """Say what is looked at over the whole image, and how blocks are labelled then."""
    from napari_tessera.methods.image_levels import LEVELS

    entry = catalogue.find(settings["model"])
    return Overlapping((LEVELS, {**settings, "entry": entry}), partial(_plan, entry, settings))


def is_better_in_blocks(shape: tuple[int, ...], **settings: Any) -> bool:
    """Say whether an image is so large that blocks keep memory low; probabilities are as large in any case."""
    is_plane_by_plane = catalogue.find(settings["model"]).ndim < len(shape) and settings["volume"] == "planes"
    seen_at_once = shape[1:] if is_plane_by_plane else shape
    return settings["output"] != "probabilities" and prod(seen_at_once) > LARGEST_WHOLE_PX[len(seen_at_once)]


def _plan(entry: ModelEntry, settings: Settings, fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
    """Find the scale from windows spread over the image, and plan the blocks."""
    from napari_tessera.large.seeing import Looking, find_scale

    view = view_of(entry, image, fitted["levels"], settings, "unet")
    network = yield from part_of(loaded(entry, settings["device"]), 0, 1, 4)
    looking = Looking(settings["diameter"], tile_px=settings["tile"])
    factor, _ = yield from part_of(find_scale(network, view, looking), 1, 3, 4)
    usual_px = entry.diameter_px
    object_px = OBJECTS_BEYOND * usual_px if usual_px else WIDEST_OBJECT_PX
    beyond_px = network.halo_px + (object_px if settings["output"] == "objects" else 0)
    is_plane_by_plane = network.ndim < view.ndim and settings["volume"] == "planes"
    sight = sight_over(view, factor, beyond_px, network.step, is_plane_by_plane)
    # Pixel size and diameter that give each block the very scale that the whole image's grid has.
    factors = tuple(1 / scale for scale in sight.grid.scale)
    fixed = {**settings, "spacing": factors, "diameter": usual_px and usual_px / factors[-1]}
    label = partial(label_block, entry=entry, levels=view.levels, **fixed)
    chosen = chosen_diameter(entry, factor, settings["diameter"])
    on_volume = notes_on_volume(entry, view, settings["volume"], settings["output"])
    on_scale = notes_on_scale(entry, view, factor, settings["diameter"])
    notes = (*notes_on_stored(view, image, settings), *on_volume, *on_scale)
    return plan_of(label, sight, settings["min_size"] or 0, notes, chosen)


def label_block(
    block: np.ndarray, *, entry: ModelEntry, levels: Levels, grid: Grid, **settings: Any
) -> Job[np.ndarray]:
    """Segment one block as a part of the image that has these levels; small objects stay until blocks are joined."""
    from napari_tessera.large.instances import Wanted
    from napari_tessera.large.seeing import Looking
    from napari_tessera.large.view import View
    from napari_tessera.large.volumes import Stacking, segment

    channel_axis = settings["channel_axis"]
    shown, has_channels = channels_for(entry, block, channel_axis, settings["channel"], "unet")
    network = yield from part_of(loaded(entry, settings["device"]), 0, 1, 20)
    looking = Looking(settings["diameter"], settings["averaging"], settings["tile"])
    wanted = Wanted(settings["output"], settings["level"], None if settings["min_size"] is None else 0)
    stacking = Stacking(settings["volume"] == "orientations", settings["overlap"])
    view = View(shown, levels, has_channels, settings["spacing"], grid)
    segmenting = segment(network, view, looking, wanted, stacking)
    return (yield from part_of(segmenting, 1, 19, 20))
