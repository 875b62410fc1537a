"""The method `unet`: objects, classes or probabilities from a trained U-Net.

On blocks, brightness and scale are found for the whole image first and shared by all blocks, so that each block gives
the same objects as the whole image. Blocks overlap by the network's receptive field and the size of an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from napari_tessera.core.blockwise import BlockPlan, Overlapping, Settings, Stored
from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.method import Method, Redecoding
from napari_tessera.core.result import MethodOutput
from napari_tessera.core.spec import (
    Channel,
    ChannelAxis,
    Device,
    FromModel,
    Image,
    Labels,
    ModelName,
    NeedsAxis,
    Range,
    ShownIf,
    Spacing,
    TileSize,
    Valid,
)
from napari_tessera.core.tiles import widened
from napari_tessera.methods._network_blocks import margins_over, plan_of, view_of
from napari_tessera.methods._network_checks import (
    channels_for,
    chosen_diameter,
    loaded,
    look_with,
    notes_on_image,
    notes_on_scale,
    notes_on_stored,
    notes_on_volume,
)

if TYPE_CHECKING:
    from napari_tessera.inference.decode_unet import UNetOptions
    from napari_tessera.inference.normalization import Levels
    from napari_tessera.inference.pixel_grid import Grid
    from napari_tessera.models.registry import ModelEntry

BLOCK_PX = {2: (2048, 2048), 3: (32, 1024, 1024)}
"""Planes of a volume are mostly segmented one by one, so that blocks are best flat and wide."""
SMALLEST_BLOCK_PX = {2: (32, 32), 3: (4, 32, 32)}
"""Around smaller blocks, nearly all time would go into what they are seen with."""
LARGEST_WHOLE_PX = {2: 16e6, 3: 16e6}
"""Larger images are worked on in blocks, wherever they lie: a whole one takes some 80 bytes a pixel."""
OBJECTS_BEYOND = 1.5
"""How many usual diameters an object may reach beyond its block."""
WIDEST_OBJECT_PX = 128
"""How far an object may reach beyond its block where the model knows no usual diameter."""


def overlapping(**settings: Any) -> Overlapping:
    """Return what is looked at over the whole image, and how blocks are labelled then."""
    from napari_tessera.methods._network_blocks import LEVELS
    from napari_tessera.models import registry as catalogue

    entry = catalogue.find(settings["model"])
    return Overlapping((LEVELS, {**settings, "entry": entry}), partial(_plan, entry, settings))


def is_better_in_blocks(shape: tuple[int, ...], **settings: Any) -> bool:
    """Return whether an image is so large that blocks keep memory low; probabilities are as large in any case."""
    from napari_tessera.models import registry as catalogue

    is_plane_by_plane = catalogue.find(settings["model"]).ndim < len(shape) and settings["volume"] == "stitch"
    seen_at_once = shape[1:] if is_plane_by_plane else shape
    return settings["output"] != "probabilities" and prod(seen_at_once) > LARGEST_WHOLE_PX[len(seen_at_once)]


def _plan(entry: ModelEntry, settings: Settings, fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
    """Find the scale from windows spread over the image, and plan the blocks."""
    from napari_tessera.inference.scale_search import find_scale

    view = view_of(entry, image, fitted["levels"], settings, "unet")
    network = yield from subtask(loaded(entry, settings["device"]), 0, 1, 4)
    scale = yield from subtask(find_scale(network, view, options_of(**settings)), 1, 3, 4)
    usual_px = entry.diameter_px
    object_px = OBJECTS_BEYOND * usual_px if usual_px else WIDEST_OBJECT_PX
    beyond_px = network.halo_px + (object_px if settings["output"] == "objects" else 0)
    is_plane_by_plane = network.ndim < view.ndim and settings["volume"] == "stitch"
    margins = margins_over(view, scale.factor, beyond_px, network.step, is_plane_by_plane)
    # Pixel size and diameter that give each block the very scale that the whole image's grid has.
    factors = tuple(1 / scale for scale in margins.grid.scale)
    fixed = {**settings, "spacing": factors, "diameter": usual_px and usual_px / factors[-1]}
    label = partial(label_block, entry=entry, levels=view.levels, **fixed)
    chosen = chosen_diameter(entry, scale.factor, settings["diameter"])
    on_volume = notes_on_volume(entry, view, settings["volume"], settings["output"])
    on_scale = notes_on_scale(entry, view, scale, settings["diameter"])
    notes = (*notes_on_stored(view, image, settings), *on_volume, *on_scale)
    return plan_of(label, margins, settings["min_size"] or 0, notes, chosen)


def label_block(
    block: np.ndarray, *, entry: ModelEntry, levels: Levels, grid: Grid, **settings: Any
) -> Job[np.ndarray]:
    """Segment one block as a part of the image that has these levels; small objects stay until blocks are joined."""
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.inference.segment_unet import segment

    channel_axis = settings["channel_axis"]
    shown, has_channels = channels_for(entry, block, channel_axis, settings["channel"], "unet")
    network = yield from subtask(loaded(entry, settings["device"]), 0, 1, 20)
    min_size = None if settings["min_size"] is None else 0
    view = NormalizedImage(shown, levels, has_channels, settings["spacing"], grid)
    segmenting = segment(network, view, options_of(**{**settings, "min_size": min_size}))
    return (yield from subtask(segmenting, 1, 19, 20))


def options_of(**settings: Any) -> UNetOptions:
    """Return the network's options for these parameters of the method."""
    from napari_tessera.inference.decode_unet import UNetOptions

    return UNetOptions(
        settings["output"], settings["diameter"], settings["threshold"], settings["min_size"], settings["augment"],
        settings["volume"] == "orthogonal", settings["stitch_threshold"], settings["tile_size"],
    )  # fmt: skip


def unet(
    image: Image,
    *,
    model: Annotated[str, ModelName("unet")] = "nuclei-unet",
    output: Annotated[Literal["objects", "classes", "probabilities"] | None, FromModel("task")] = None,
    diameter: Annotated[float | None, Range(1, 5000, unit="px")] = None,
    polarity: Literal["auto", "bright", "dark"] = "auto",
    threshold: Annotated[float | None, Range(0, 1, step=0.01), ShownIf("output", None, "objects", "classes")] = None,
    min_size: Annotated[int | None, Range(0, unit="px²"), ShownIf("output", None, "objects")] = None,
    augment: bool = False,
    volume: Annotated[Literal["stitch", "orthogonal"], NeedsAxis("Z")] = "stitch",
    stitch_threshold: Annotated[
        float, NeedsAxis("Z"), Range(0, 1, step=0.05), ShownIf("volume", "stitch"), ShownIf("output", None, "objects")
    ] = 0.25,
    channel: Channel = None,
    tile_size: TileSize = None,
    device: Device = "auto",
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
    valid: Valid = None,
) -> Job[Labels | MethodOutput]:
    """Find objects or classes with a trained U-Net.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), of any number type, with the channels at `channel_axis`. Brightness is measured over the
        whole image (percentiles), without a few things far brighter than all objects, which a note names; an image with
        dark objects on a bright background is turned (see `polarity`).
    model : str
        Name of a model (`tessera models` lists them and shows their cards), or path of a model file.
    output : str, optional
        "objects": each object has a number of its own. "classes": each pixel has the number of its class, which the
        table names; for a model that finds objects, 1 is object. "probabilities": one image per class but the
        background, with the probability of each pixel, 0 to 1. Empty takes what the model was trained for: objects or
        classes. A model that tells classes apart gives as "objects" the connected regions of each class.
    diameter : float, optional
        Usual diameter of an object, in pixels along X. The image is rescaled so that the objects have the size that the
        model knows. Empty means estimated from the image, at up to four scales, for objects of 6 to 200 pixels; a note
        tells where the estimate is uncertain. Give it where objects come out in pieces (larger helps) or several as one
        (smaller helps), or where one size must hold for many images.
    polarity : str
        Whether objects are brighter or darker than the background. "auto" takes them for dark where more than half of
        the image is bright; say it where objects fill most of the image. Without effect on a model for channels of its
        own.
    threshold : float, optional
        Probability above which a pixel is no background: lower finds dimmer objects and wider outlines. Empty means the
        model's own, chosen on its validation images; in a model for classes the likeliest class.
    min_size : int, optional
        Objects of fewer pixels are dropped, in 3-D of fewer voxels; 0 keeps all. Empty means that the model drops what
        is hardly an object: as it has learnt, or else by a share of the usual area.
    augment : bool
        Predict mirror images as well and average: a little better, 4 times slower (8 times with a model for volumes).
    volume : str
        How a model for planes segments a volume. "stitch": plane by plane, and objects of neighbouring planes are
        linked where they overlap; for planes that are far apart, or objects that are flat. "orthogonal": what the
        model says of the planes across z, y and x is averaged and then made into objects; better for round objects and
        crowds, 3 times slower. Without effect on a plane, or with a model for volumes.
    stitch_threshold : float
        How much two objects of neighbouring planes must overlap to be one: intersection over union. Higher splits
        more, lower joins more.
    channel : int, optional
        Channel to look at, from 0. Empty shows the model three or four channels as the colours red, green and blue
        (the fourth, opacity, is left out), any other number of channels as their mean. A model that was trained on
        several channels takes all of them.
    tile_size : int, optional
        Side of the pieces the image is computed in, in pixels of the model. The labels hardly depend on it; smaller
        needs less memory. Empty means as large as time and memory allow.
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
    array
        Labels of the image's spatial shape; 0 is background, objects are 1…N in raster order of their first pixel,
        classes 1…K as the model's card lists them. For "probabilities" float32 (K, Y, X) or (K, Z, Y, X).

    Raises
    ------
    ParameterError
        If there is no such model or device, the image does not have the channel, or no object can have the diameter.
    InputError
        If the model takes other channels than the image has, or volumes where the image is a plane.
    ModelError
        If the model file is damaged, or newer than this version.

    Notes
    -----
    A model for objects says of each pixel how likely it is an object, or a border between two that touch, and how far
    it lies from the outline of its object. Where that distance has a summit, an object has its heart; the objects are
    flooded from their hearts, and outlines lie where the probability crosses `threshold`. So touching objects part,
    and a pixel belongs to one object at most. Some models, the shipped one among them, have also learnt which of the
    objects so found are none: by their size and outline, and by how sure of them their pixels are, and how well these
    agree. Give `min_size` to see all.

    The estimate of the diameter fails where objects of very different sizes lie side by side, and where there are
    hardly any. A model with a regression compares the objects it finds with those of its training: where they differ a
    lot, as in photographs, noise or patterns, a note says that the image does not look like the training images. On one
    computer, the same image and model give the same labels, bit for bit; other processors and graphics cards round
    differently.

    References
    ----------
    Ronneberger O., Fischer P., Brox T. (2015), U-Net, doi:10.1007/978-3-319-24574-4_28; in 3-D Çiçek Ö. et al. (2016),
    doi:10.1007/978-3-319-46723-8_49. Floods: Meyer F. (1994), doi:10.1016/0165-1684(94)90060-4.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> y, x = np.mgrid[:64, :64]
    >>> image = 200.0 * ((y - 20) ** 2 + (x - 20) ** 2 < 100) + 200.0 * ((y - 44) ** 2 + (x - 42) ** 2 < 100)
    >>> tessera.unet(image, diameter=20).max()
    np.int32(2)
    """
    from napari_tessera.models import registry as catalogue

    entry = catalogue.find(model)
    output = output or ("classes" if entry.task == "classes" else "objects")
    looking = look_with(
        loaded, entry, image, "unet", diameter=diameter, channel_axis=channel_axis, channel=channel, device=device,
        polarity=polarity, spacing=spacing, valid=valid,
    )  # fmt: skip
    network, view = yield from subtask(looking, 0, 2, 20)

    from napari_tessera.inference.scale_search import find_scale
    from napari_tessera.inference.segment_unet import segment_at

    options = options_of(
        output=output, diameter=diameter, threshold=threshold, min_size=min_size, augment=augment, volume=volume,
        stitch_threshold=stitch_threshold, tile_size=tile_size,
    )  # fmt: skip
    scale = yield from subtask(find_scale(network, view, options), 2, 6, 20)
    labels = yield from subtask(segment_at(scale, network, view, options), 8, 12, 20)
    n_channels = 1 if channel_axis is None else image.shape[channel_axis]
    on_volume = notes_on_volume(entry, view, volume, output)
    on_scale = notes_on_scale(entry, view, scale, diameter) if labels.any() else ()
    notes = (*notes_on_image(view, n_channels, channel), *on_volume, *on_scale)
    return MethodOutput(labels, notes=notes, chosen=chosen_diameter(entry, scale.factor, diameter))


LARGEST_DECODED_PX = 400_000
"""Pixels of the network that a preview decodes: about a tenth of a second."""
BEYOND_VIEW_PX = 64
"""How far a preview decodes beyond what it shows, in pixels of the network: objects there may reach in."""


@dataclass(frozen=True)
class Look:
    """What a network saw of a plane, to be decoded with several settings."""

    header: Mapping[str, Any]
    scores: Mapping[str, np.ndarray]
    grid: Grid


def look(image: np.ndarray, **settings: Any) -> Job[Look]:
    """Let the network look at a plane, at the scale that fits."""
    from napari_tessera.models import registry as catalogue

    entry = catalogue.find(settings["model"])
    network, view = yield from subtask(look_with(loaded, entry, image, "unet", **settings), 0, 2, 10)

    from napari_tessera.inference.scale_search import find_scale, predict_or_reuse

    options = options_of(**settings)
    scale = yield from subtask(find_scale(network, view, options), 2, 4, 10)
    scores = yield from subtask(predict_or_reuse(scale, network, view, options), 6, 4, 10)
    return Look(network.header, scores, view.grid_at(scale.factor))


def decode(seen: Look, window: tuple[slice, slice], step: int, **settings: Any) -> Job[np.ndarray]:
    """Decode what a network saw of a window, one pixel for every `step` pixels of the image along y and x.

    Of a large window only every second score, or fewer, is decoded. For probabilities, classes are shown.
    """
    from napari_tessera.inference.decode_unet import make_output
    from napari_tessera.inference.pixel_grid import Grid

    whole = seen.grid
    margins = [ceil(BEYOND_VIEW_PX * scale) for scale in whole.scale]
    wide = widened(window, margins, whole.shape)
    read, part = whole.crop(wide, (1, 1))
    first = [
        round((part.origin[axis] + read[axis].start - whole.origin[axis]) / whole.scale[axis]) for axis in range(2)
    ]
    thin = max(1, ceil(sqrt(prod(part.size) / LARGEST_DECODED_PX)))
    places = tuple(slice(start, start + size, thin) for start, size in zip(first, part.size, strict=True))
    scores = {name: np.array(each[(slice(None), *places)]) for name, each in seen.scores.items()}
    size = scores["classes"].shape[1:]
    shape = tuple(-(-(each.stop - each.start) // step) for each in window)
    scale = tuple(each * thin / step for each in part.scale)
    # Of several scores the first is taken, so that its place is that of a pixel which begins earlier.
    origin = tuple(
        (read[axis].start + part.origin[axis] - window[axis].start + (1 - thin) / 2 * part.scale[axis]) / step
        for axis in range(2)
    )
    header, output = thinned(seen.header, thin), settings["output"] or seen.header["task"]
    options = options_of(**{**settings, "output": "classes" if output == "probabilities" else output})
    if options.min_size is not None:
        options = replace(options, min_size=round(options.min_size / step**2))
    return (yield from make_output(scores, header, options, Grid(shape, size, scale, origin)))


def thinned(header: Mapping[str, Any], thin: int) -> Mapping[str, Any]:
    """Return how scores are decoded of which only every `thin`-th is there, along each axis."""
    if thin == 1:
        return header
    decoding = dict(header.get("decoding", {}))
    if "smoothing_px" in decoding:
        decoding["smoothing_px"] /= thin
    diameter_px = header.get("diameter_px")
    return {**header, "decoding": decoding, "diameter_px": diameter_px and diameter_px / thin}


def class_names(*, model: str, **_: Any) -> tuple[str, ...]:
    """Return the names of the classes 1…K of the output."""
    from napari_tessera.models import registry as catalogue

    return catalogue.find(model).classes[1:]


METHOD = Method(
    unet,
    "U-Net",
    join="overlap",
    look_first=("diameter", "threshold", "polarity", "model", "channel"),
    overlapping=overlapping,
    is_better_in_blocks=is_better_in_blocks,
    class_names=class_names,
    has_preview=True,
    redecoding=Redecoding(("output", "threshold", "min_size", "stitch_threshold"), look, decode),
    block_px=BLOCK_PX,
    smallest_block_px=SMALLEST_BLOCK_PX,
)
