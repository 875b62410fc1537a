"""The method `mask_rcnn`: objects with class, score and box from a trained Mask R-CNN, with its table and notes.

On blocks, brightness and scale are found for the whole image first and shared by all blocks, so that each block gives
the same objects as the whole image. Blocks overlap by as much as tiles do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from napari_tessera.core.blockwise import BlockPlan, Overlapping, Settings, Stored
from napari_tessera.core.errors import ModelError, ParameterError
from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.method import Method, Redecoding
from napari_tessera.core.result import MethodOutput, count_in_words
from napari_tessera.core.spec import (
    Channel,
    ChannelAxis,
    Device,
    Image,
    ModelName,
    NeedsAxis,
    Range,
    Spacing,
    Table,
    TileSize,
    Valid,
)
from napari_tessera.methods._network_blocks import margins_over, plan_of, view_of
from napari_tessera.methods._network_checks import (
    channels_for,
    chosen_diameter,
    loaded_detector,
    look_with,
    notes_on_image,
    notes_on_scale,
    notes_on_second,
    notes_on_stored,
)
from napari_tessera.methods.unet import BLOCK_PX, SMALLEST_BLOCK_PX

if TYPE_CHECKING:
    from napari_tessera.inference.detections_to_labels import DetectionThresholds, DroppedDetections, Rows
    from napari_tessera.inference.normalization import Levels
    from napari_tessera.inference.pixel_grid import Grid
    from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions
    from napari_tessera.models.mask_rcnn.detections import Detections
    from napari_tessera.models.registry import ModelEntry

OF_PLANES = "Objects were counted in each plane, before planes were linked."


def table_of(rows: Rows, classes: Sequence[str]) -> Table:
    """Make the table of the objects 1…N: class by name, score, box, and which share of the mask is hidden."""
    axes = "zyx"[-rows.low.shape[1] :]
    boxes = {f"box_{axis}0": low for axis, low in zip(axes, rows.low.T, strict=True)}
    boxes |= {f"box_{axis}1": high for axis, high in zip(axes, rows.high.T, strict=True)}
    return {
        "label": np.arange(1, len(rows.scores) + 1),
        "class": np.array(classes)[rows.classes],
        "score": rows.scores,
        **boxes,
        "hidden": rows.lost_px / np.maximum(1, rows.claimed_px),
    }


def notes_on(left: DroppedDetections, which: DetectionThresholds, is_volume: bool = False) -> tuple[str, ...]:
    """Return what was left out and why, and how much objects overlap, in sentences.

    In a volume, an object counts in each of its planes.

    Examples
    --------
    >>> from napari_tessera.inference.detections_to_labels import DetectionThresholds, DroppedDetections
    >>> notes_on(DroppedDetections(surplus=3), DetectionThresholds(max_objects=100))
    ('3 objects of lower scores were left out, since `max_objects` is 100. Raise it, or leave it empty.',)
    """
    counts = {
        f"{count_in_words(left.surplus)} of lower scores {_were(left.surplus)} left out, since `max_objects` is "
        f"{which.max_objects}. Raise it, or leave it empty.": left.surplus,
        f"{count_in_words(left.faint)} scored just below the least score, {which.faintest:.2f} to {which.score:.2f}, "
        f"and {_were(left.faint)} left out. Lower `min_score` to have them.": left.faint,
        f"{count_in_words(left.hidden)} {_were(left.hidden)} dropped: more than {which.most_hidden:.0%} of the mask "
        "belongs to objects of higher scores.": left.hidden,
        f"{count_in_words(left.blank)} {_were(left.blank)} dropped: the mask has no pixel.": left.blank,
        f"{count_in_words(left.small)} {_were(left.small)} dropped: fewer pixels than `min_size`.": left.small,
        f"{count_in_words(left.overlapping)} lost {left.shared_px} px to overlapping ones of higher scores; the column "
        "`hidden` says how much of each.": left.overlapping,
        f"{count_in_words(left.unseen)} that seemed likely {_were(left.unseen)} not looked at: there are too many in "
        "one tile. A smaller `tile_size` finds more of them.": left.unseen,
    }
    sentences = tuple(sentence for sentence, count in counts.items() if count)
    return (*sentences, OF_PLANES) if sentences and is_volume else sentences


def notes_on_blocks(left: DroppedDetections, which: DetectionThresholds) -> tuple[str, ...]:
    """Return what was left out of one of many blocks, but not how much: other blocks count some of it again."""
    counts = {
        f"Some objects scored just below the least score, {which.faintest:.2f} to {which.score:.2f}, and were left "
        "out. Lower `min_score` to have them.": left.faint,
        f"Some objects were dropped: more than {which.most_hidden:.0%} of the mask belongs to objects of higher "
        "scores.": left.hidden,
        "Some objects overlap others of higher scores; the column `hidden` says how much.": left.overlapping,
        "Some objects that seemed likely were not looked at: there are too many in one tile. A smaller `tile_size` "
        "finds more of them.": left.unseen,
    }
    return tuple(sentence for sentence, count in counts.items() if count)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


LARGEST_WHOLE_PX = 16e6
"""Larger planes are worked on in blocks, wherever they lie: a whole one takes some 60 bytes a pixel."""
STEP_PX = 32
"""Pixels of the network at multiples of which blocks are bestgin, for its features to be those of the whole."""


def overlapping(**settings: Any) -> Overlapping:
    """Return what is measured over the whole image, and how blocks are labelled then; refuse a limit of objects."""
    from napari_tessera.methods._network_blocks import LEVELS
    from napari_tessera.models import registry as catalogue

    if settings["max_objects"] is not None:
        raise ParameterError(
            f"mask_rcnn: `max_objects` is {settings['max_objects']}, but in blocks it is not known which objects of "
            "the image score highest. Leave it empty, or run on the whole image at once.",
            "max_objects",
        )
    entry = catalogue.find(settings["model"])
    return Overlapping((LEVELS, {**settings, "entry": entry}), partial(_plan, entry, settings))


def is_better_in_blocks(shape: tuple[int, ...], **settings: Any) -> bool:
    """Return whether the planes of an image are so large that blocks keep memory low."""
    return settings["max_objects"] is None and prod(shape[-2:]) > LARGEST_WHOLE_PX


def _plan(entry: ModelEntry, settings: Settings, fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
    """Find the scale from windows spread over the image, and plan the blocks."""
    from napari_tessera.inference.segment_mask_rcnn import find_scale

    view = view_of(entry, image, fitted["levels"], settings, "mask_rcnn")
    network = yield from subtask(loaded_detector(entry, settings["device"]), 0, 1, 4)
    scale = yield from subtask(find_scale(network, view, options_of(entry, **settings)), 1, 3, 4)
    margins = margins_over(view, scale.factor, network.overlap_px, STEP_PX, is_plane_by_plane=view.ndim == 3)
    fixed = {**settings, "spacing": tuple(1 / scale for scale in margins.grid.scale)}
    label = partial(label_block, entry=entry, levels=view.levels, has_second=network.second is not None, **fixed)
    chosen = chosen_diameter(entry, scale.factor, settings["diameter"])
    on_scale = notes_on_scale(entry, view, scale, settings["diameter"])
    notes = (*notes_on_stored(view, image, settings), *notes_on_second(entry, network), *on_scale)
    return plan_of(label, margins, settings["min_size"], notes, chosen)


def label_block(
    block: np.ndarray, *, entry: ModelEntry, levels: Levels, grid: Grid, has_second: bool, **settings: Any
) -> Job[MethodOutput]:
    """Find the objects of one block, as a part of the image that has these levels, at the scale of the whole.

    `has_second` is whether the plan was made with the network that rescores objects; the block needs the same.
    """
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.inference.segment_mask_rcnn import find_objects

    channel_axis, factors = settings["channel_axis"], settings["spacing"]
    shown, has_channels = channels_for(entry, block, channel_axis, settings["channel"], "mask_rcnn")
    network = yield from subtask(loaded_detector(entry, settings["device"]), 0, 1, 20)
    if (network.second is not None) != has_second:
        raise ModelError(
            f"The network that {entry.name!r} asks for a second opinion is not on all computers that work on this "
            "image. Put it there, or run without `scheduler`."
        )
    options = replace(options_of(entry, **{**settings, "min_size": 0}), factor=factors[-1])
    view = NormalizedImage(shown, levels, has_channels, factors, grid)
    labels, rows, left = yield from subtask(find_objects(network, view, options), 1, 19, 20)
    return MethodOutput(labels, table_of(rows, entry.classes), notes_on_blocks(left, options.thresholds))


def options_of(entry: ModelEntry, **settings: Any) -> MaskRCNNOptions:
    """Return the network's options for these parameters of the method."""
    from napari_tessera.inference.detections_to_labels import DetectionThresholds
    from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions

    thresholds = DetectionThresholds.of(entry.header, settings["min_score"], settings["max_objects"])
    return MaskRCNNOptions(
        settings["diameter"], settings["tile_size"], settings["min_size"], settings["stitch_threshold"],
        thresholds=thresholds,
    )  # fmt: skip


def mask_rcnn(
    image: Image,
    *,
    model: Annotated[str, ModelName("mask_rcnn")] = "nuclei-mask-rcnn",
    diameter: Annotated[float | None, Range(1, 5000, unit="px")] = None,
    polarity: Literal["auto", "bright", "dark"] = "auto",
    min_score: Annotated[float | None, Range(0, 1, step=0.01)] = None,
    max_objects: Annotated[int | None, Range(1)] = None,
    min_size: Annotated[int, Range(0, unit="px²")] = 0,
    stitch_threshold: Annotated[float, NeedsAxis("Z"), Range(0, 1, step=0.05)] = 0.25,
    channel: Channel = None,
    tile_size: TileSize = None,
    device: Device = "auto",
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
    valid: Valid = None,
) -> Job[MethodOutput]:
    """Find objects, each with a class and a score, with a trained Mask R-CNN.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), of any number type, with the channels at `channel_axis`. Brightness is measured over the
        whole image (percentiles), without a few things far brighter than all objects, which a note names; an image with
        dark objects on a bright background is turned (see `polarity`).
    model : str
        Name of a model (`tessera models` lists them and shows their cards), or path of a model file.
    diameter : float, optional
        Usual diameter of an object, in pixels along X. The image is rescaled so that the objects have the size that the
        model knows. Empty means estimated from the objects found at up to four scales, by the U-Net that rescores
        objects if there is one; a note tells where the estimate is uncertain. Give it where objects are missed or come
        out in pieces, or where one size must hold for many images.
    polarity : str
        Whether objects are brighter or darker than the background. "auto" takes them for dark where more than half of
        the image is bright; say it where objects fill most of the image. Without effect on a model for channels of its
        own.
    min_score : float, optional
        Least score of an object, 0 to 1: lower finds more objects, and more that are none. Empty means the model's own,
        chosen on its validation images.
    max_objects : int, optional
        Largest number of objects in an image, in a volume in each plane before the planes are linked: those of the
        highest scores are kept. Empty means no limit.
    min_size : int
        Objects of fewer pixels are dropped, in 3-D of fewer voxels; 0 keeps all.
    stitch_threshold : float
        In a volume, how much two objects of neighbouring planes must overlap to be one: intersection over union.
        Higher splits more, lower joins more.
    channel : int, optional
        Channel to look at, from 0. Empty shows the model three or four channels as the colours red, green and blue
        (the fourth, opacity, is left out), any other number of channels as their mean. A model that was trained on
        several channels takes all of them.
    tile_size : int, optional
        Side of the pieces the image is computed in, in pixels of the model; each is seen with a margin. The objects
        hardly depend on it; smaller needs less memory. Empty means as large as time and memory allow.
    device : str
        Where the network runs. "auto" takes a graphics card if there is one (CUDA, then Apple's MPS), otherwise the
        processor.
    spacing : tuple of float, optional
        Size of a pixel along each axis. Where they differ, the image is rescaled so that the model sees all axes alike.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.
    valid : array, optional
        Where the image is, True or False for each pixel. Elsewhere brightness is not measured, and nothing is found.

    Returns
    -------
    labels : array
        Of the image's spatial shape; 0 is background, objects are 1…N in raster order of their first pixel.
    table : dict of str to array
        For each object its ``class`` (name) and ``score``, its box (``box_y0``, ``box_x0``, ``box_y1``, ``box_x1`` in
        pixels, the upper left corner of the image being 0, 0; in 3-D ``box_z0`` and ``box_z1``, too), and which share
        of its mask is ``hidden`` by objects of higher scores.

    Raises
    ------
    ParameterError
        If there is no such model or device, the image does not have the channel, or no object can have the diameter.
    InputError
        If the model takes other channels than the image has.
    ModelError
        If the model file is damaged, or newer than this version.

    Notes
    -----
    The network proposes boxes, says what is in each and how sure it is, and which pixels of the box belong to the
    object. The shipped model judges each once more, by its size, by how sure the pixels of its mask are, and by what
    the shipped U-Net sees in its place: its scores are probabilities, on images like those that it learnt from. What
    stands out no more than the noise of the pixels is left out.

    Masks may overlap, labels cannot: a pixel belongs to the object of the highest score. An object that loses more than
    half of its mask is dropped, and of what is left of an object, the largest connected piece is kept. Notes with the
    result say how many objects the score, the limit and the overlap took.

    Large images are computed in tiles that overlap, and an object that one tile cuts is taken from the next. A volume
    is segmented plane by plane; objects of neighbouring planes are linked where they overlap, and have the class and
    the score of their best plane. On one computer, the same image and model give the same labels, bit for bit; other
    processors and graphics cards round differently.

    References
    ----------
    He K. et al. (2017), Mask R-CNN, doi:10.1109/ICCV.2017.322. Overlapping masks: Kirillov A. et al. (2019),
    doi:10.1109/CVPR.2019.00963. Scores that know of the mask: Huang Z. et al. (2019), Mask Scoring R-CNN,
    doi:10.1109/CVPR.2019.00657.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> y, x = np.mgrid[:64, :64]
    >>> image = 200.0 * ((y - 20) ** 2 + (x - 20) ** 2 < 100) + 200.0 * ((y - 44) ** 2 + (x - 42) ** 2 < 100)
    >>> labels, table = tessera.mask_rcnn(image, diameter=20)
    >>> labels.max(), table["class"].tolist()
    (np.int32(2), ['nucleus', 'nucleus'])
    """
    from napari_tessera.models import registry as catalogue

    entry = catalogue.find(model)
    looking = look_with(
        loaded_detector, entry, image, "mask_rcnn", diameter=diameter, channel_axis=channel_axis, channel=channel,
        device=device, polarity=polarity, spacing=spacing, valid=valid,
    )  # fmt: skip
    network, view = yield from subtask(looking, 0, 2, 20)

    from napari_tessera.inference.segment_mask_rcnn import find_scale, objects_at

    options = options_of(
        entry, diameter=diameter, min_score=min_score, max_objects=max_objects, min_size=min_size,
        stitch_threshold=stitch_threshold, tile_size=tile_size,
    )  # fmt: skip
    scale = yield from subtask(find_scale(network, view, options), 2, 6, 20)
    labels, rows, left = yield from subtask(objects_at(scale, network, view, options), 8, 12, 20)
    n_channels = 1 if channel_axis is None else image.shape[channel_axis]
    on_scale = notes_on_scale(entry, view, scale, diameter)
    told = (*notes_on_image(view, n_channels, channel), *notes_on_second(entry, network), *on_scale)
    chosen = chosen_diameter(entry, scale.factor, diameter)
    return MethodOutput(
        labels,
        table_of(rows, entry.classes),
        (*told, *notes_on(left, options.thresholds, view.ndim == 3)),
        chosen=chosen,
    )


@dataclass(frozen=True)
class Look:
    """What a network saw of a plane, to be made objects with several settings."""

    entry: ModelEntry
    detections: Detections  # in pixels of the image
    is_aligned: bool


def look(image: np.ndarray, **settings: Any) -> Job[Look]:
    """Let the network look at a plane, at the scale that fits; detections of any score are kept."""
    from napari_tessera.models import registry as catalogue

    entry = catalogue.find(settings["model"])
    network, view = yield from subtask(look_with(loaded_detector, entry, image, "mask_rcnn", **settings), 0, 2, 10)

    from napari_tessera.inference.segment_mask_rcnn import detections_at, find_scale

    options = options_of(entry, **{**settings, "min_score": 0.0, "max_objects": None})
    scale = yield from subtask(find_scale(network, view, options), 2, 4, 10)
    found = yield from subtask(detections_at(scale, network, view, options), 6, 4, 10)
    return Look(entry, found, network.settings.is_aligned)


def decode(seen: Look, window: tuple[slice, slice], step: int, **settings: Any) -> Job[np.ndarray]:
    """Make objects of what a network saw in a window, one pixel for every `step` pixels of the image along y and x."""
    from napari_tessera.inference.detections_to_labels import objects_of

    shape = tuple(-(-(each.stop - each.start) // step) for each in window)
    found = seen.detections.moved(-window[0].start, -window[1].start).scaled(1 / step, 1 / step)
    x0, y0, x1, y1 = found.boxes.numpy().T
    is_seen = (x1 > 0) & (y1 > 0) & (x0 < shape[1]) & (y0 < shape[0])
    options = options_of(seen.entry, **settings)
    min_size = round(options.min_size / step**2)
    making = objects_of(found.chosen(is_seen.nonzero()[0]), shape, options.thresholds, seen.is_aligned, min_size)
    labels, _, _ = yield from making
    return labels


METHOD = Method(
    mask_rcnn,
    "Mask R-CNN",
    join="overlap",
    has_preview=True,
    redecoding=Redecoding(("min_score", "max_objects", "min_size", "stitch_threshold"), look, decode),
    look_first=("min_score", "diameter", "polarity", "model", "channel"),
    overlapping=overlapping,
    is_better_in_blocks=is_better_in_blocks,
    block_px=BLOCK_PX,
    smallest_block_px=SMALLEST_BLOCK_PX,
)
