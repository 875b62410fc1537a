"""Mask R-CNN on images too large to hold: brightness and scale from the whole, then block by block.

All blocks share the levels of brightness and the scale, so that each sees its part of the image as it would be seen
within the whole. Blocks overlap by as much as tiles do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera import catalogue
from napari_tessera.catalogue import ModelEntry
from napari_tessera.errors import ModelError, ParameterError
from napari_tessera.jobs import Job, part_of
from napari_tessera.methods.mask_rcnn_report import notes_on_blocks, table_of
from napari_tessera.methods.network_blocks import plan_of, sight_over, view_of
from napari_tessera.methods.network_input import channels_for, loaded_detector
from napari_tessera.methods.network_told import chosen_diameter, notes_on_scale, notes_on_second, notes_on_stored
from napari_tessera.overlapping import BlockPlan, Overlapping, Stored
from napari_tessera.result import Found
from napari_tessera.two_pass import Settings

if TYPE_CHECKING:
    from napari_tessera.kernels.grid import Grid
    from napari_tessera.nn.intensity import Levels

LARGEST_WHOLE_PX = 16e6
"""Larger planes are worked on in blocks, wherever they lie: a whole one takes some 60 bytes a pixel."""
STEP_PX = 32
"""Pixels of the network at multiples of which blocks had better begin, for its features to be those of the whole."""


def overlapping(**settings: Any) -> Overlapping:
    """Say what is looked at over the whole image, and how blocks are labelled then.

    Raises
    ------
    ParameterError
        If the number of objects is limited: who is among the best is known of a whole image only.
    """
    from napari_tessera.methods.image_levels import LEVELS

    if settings["most"] is not None:
        raise ParameterError(
            f"mask_rcnn: `most` is {settings['most']}, but in blocks nobody knows which objects of the image score "
            "highest. Leave it empty, or run on the whole image at once.",
            "most",
        )
    entry = catalogue.find(settings["model"])
    return Overlapping((LEVELS, {**settings, "entry": entry}), partial(_plan, entry, settings))


def is_better_in_blocks(shape: tuple[int, ...], **settings: Any) -> bool:
    """Say whether the planes of an image are so large that blocks keep memory low."""
    return settings["most"] is None and prod(shape[-2:]) > LARGEST_WHOLE_PX


def _plan(entry: ModelEntry, settings: Settings, fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
    """Find the scale from windows spread over the image, and plan the blocks."""
    from napari_tessera.large.detected_volumes import Searching, find_scale
    from napari_tessera.nn.detected_objects import Acceptance

    view = view_of(entry, image, fitted["levels"], settings, "mask_rcnn")
    network = yield from part_of(loaded_detector(entry, settings["device"]), 0, 1, 4)
    which = Acceptance.of(entry.header, settings["score"])
    searching = Searching(settings["diameter"], settings["tile"])
    factor, _ = yield from part_of(find_scale(network, view, searching, which), 1, 3, 4)
    sight = sight_over(view, factor, network.overlap_px, STEP_PX, is_plane_by_plane=view.ndim == 3)
    fixed = {**settings, "spacing": tuple(1 / scale for scale in sight.grid.scale)}
    label = partial(label_block, entry=entry, levels=view.levels, has_second=network.second is not None, **fixed)
    chosen = chosen_diameter(entry, factor, settings["diameter"])
    on_scale = notes_on_scale(entry, view, factor, settings["diameter"])
    notes = (*notes_on_stored(view, image, settings), *notes_on_second(entry, network), *on_scale)
    return plan_of(label, sight, settings["min_size"], notes, chosen)


def label_block(
    block: np.ndarray, *, entry: ModelEntry, levels: Levels, grid: Grid, has_second: bool, **settings: Any
) -> Job[Found]:
    """Find the objects of one block, as a part of the image that has these levels, at the scale of the whole.

    Raises
    ------
    ModelError
        If the network that is asked for a second opinion is not where this block is worked on.
    """
    from napari_tessera.large.detected_volumes import Searching, find_objects
    from napari_tessera.large.view import View
    from napari_tessera.nn.detected_objects import Acceptance

    channel_axis, factors = settings["channel_axis"], settings["spacing"]
    shown, has_channels = channels_for(entry, block, channel_axis, settings["channel"], "mask_rcnn")
    network = yield from part_of(loaded_detector(entry, settings["device"]), 0, 1, 20)
    if (network.second is not None) != has_second:
        raise ModelError(
            f"The network that {entry.name!r} asks for a second opinion is not on all computers that work on this "
            "image. Put it there, or run without `scheduler`."
        )
    which = Acceptance.of(entry.header, settings["score"])
    how = Searching(tile_px=settings["tile"], least_overlap=settings["overlap"], factor=factors[-1])
    finding = find_objects(network, View(shown, levels, has_channels, factors, grid), how, which)
    labels, rows, left = yield from part_of(finding, 1, 19, 20)
    return Found(labels, table_of(rows, entry.classes), notes_on_blocks(left, which))
