"""Find objects with a trained Mask R-CNN."""

from __future__ import annotations

from typing import Annotated, Literal

from napari_tessera import catalogue
from napari_tessera.jobs import Job, part_of
from napari_tessera.methods.mask_rcnn_blocks import is_better_in_blocks, overlapping
from napari_tessera.methods.mask_rcnn_report import notes_on, table_of
from napari_tessera.methods.network_input import (
    channels_for,
    check_diameter,
    check_dimensions,
    loaded_detector,
    viewed,
)
from napari_tessera.methods.network_told import chosen_diameter, notes_on_channels, notes_on_scale, notes_on_second
from napari_tessera.methods.unet_blocks import BLOCK_PX, SMALLEST_BLOCK_PX
from napari_tessera.result import Found
from napari_tessera.spec import ChannelAxis, Image, ModelName, Range, Spacing

__all__ = ["BLOCK_PX", "DECISIVE", "SMALLEST_BLOCK_PX", "is_better_in_blocks", "mask_rcnn", "overlapping"]

DECISIVE = ("score", "diameter", "objects", "model", "channel")
"""What decides, before all else, whether anything is found."""


def mask_rcnn(
    image: Image,
    *,
    model: Annotated[str, ModelName("mask_rcnn")] = "nuclei-mask-rcnn",
    diameter: Annotated[float | None, Range(1, 5000, unit="px")] = None,
    objects: Literal["auto", "bright", "dark"] = "auto",
    score: Annotated[float | None, Range(0, 1, step=0.01)] = None,
    most: Annotated[int | None, Range(1)] = None,
    min_size: Annotated[int, Range(0, unit="px²")] = 0,
    overlap: Annotated[float, Range(0, 1, step=0.05)] = 0.25,
    channel: Annotated[int, Range(0, 100)] = 0,
    tile: Annotated[int | None, Range(32, 8192)] = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
) -> Job[Found]:
    """Find objects, each with a class and a score, with a trained Mask R-CNN.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), any numeric dtype, with the channels at `channel_axis`. Brightness is measured over the
        whole image (percentiles); an image with dark objects on a bright background is turned (see `objects`).
    model : str
        Name of a model (`tessera models` lists them and shows their cards), or path of a model file.
    diameter : float, optional
        Usual diameter of an object, in pixels along X. The image is rescaled so that the objects have the size that the
        model knows. Empty means estimated from the objects found, by looking up to three times, and where there is
        nothing, once more at a smaller scale; give it where objects are missed or come out in pieces, or where one size
        must hold for many images.
    objects : str
        Whether objects are brighter or darker than the background. "auto" takes them for dark where more than half of
        the image is bright; say it where objects fill most of the image. Without effect on a model for channels of its
        own.
    score : float, optional
        Least score of an object, 0 to 1: lower finds more objects, and more that are none. Empty means the model's own,
        chosen on its validation images.
    most : int, optional
        Largest number of objects in an image, in a volume in each plane before the planes are linked: those of the
        highest scores are kept. Empty means no limit.
    min_size : int
        Objects of fewer pixels are dropped, in 3-D of fewer voxels; 0 keeps all.
    overlap : float
        In a volume, how much two objects of neighbouring planes must overlap to be one: intersection over union.
        Higher splits more, lower joins more.
    channel : int
        Channel to look at, 1 is the first. 0 shows the model three or four channels as the colours red, green and blue
        (the fourth, opacity, is left out), any other number of channels as their mean. A model that was trained on
        several channels takes all of them.
    tile : int, optional
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
    entry = catalogue.find(model)
    shape = tuple(side for axis, side in enumerate(image.shape) if channel_axis is None or axis != channel_axis)
    check_dimensions(entry, len(shape), "mask_rcnn")
    check_diameter(entry, diameter, shape, "mask_rcnn")
    shown, has_channels = channels_for(entry, image, channel_axis, channel, "mask_rcnn")
    network = yield from part_of(loaded_detector(entry, device), 0, 1, 20)

    from napari_tessera.large.detected_volumes import Searching, find_scale, objects_at
    from napari_tessera.nn.detected_objects import Acceptance

    view = yield from part_of(viewed(entry, shown, has_channels, spacing or (1.0,) * len(shape), objects), 1, 1, 20)
    which = Acceptance.of(entry.header, score, most)
    how = Searching(diameter, tile, min_size, overlap)
    factor, seen = yield from part_of(find_scale(network, view, how, which), 2, 6, 20)
    labels, rows, left = yield from part_of(objects_at(factor, seen, network, view, how, which), 8, 12, 20)
    n_channels = 1 if channel_axis is None else image.shape[channel_axis]
    on_scale = notes_on_scale(entry, view, factor, diameter)
    told = (*notes_on_channels(view, n_channels, channel), *notes_on_second(entry, network), *on_scale)
    chosen = chosen_diameter(entry, factor, diameter)
    return Found(labels, table_of(rows, entry.classes), (*told, *notes_on(left, which, view.ndim == 3)), chosen=chosen)
