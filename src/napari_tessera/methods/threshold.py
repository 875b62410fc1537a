"""Thresholding: pixels brighter (or darker) than a level, found for the whole image or for each pixel."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from napari_tessera.jobs import Job
from napari_tessera.methods.local_levels import LOCAL_RULES
from napari_tessera.methods.threshold_passes import THRESHOLD
from napari_tessera.result import Found
from napari_tessera.spec import ChannelAxis, Image, Labels, Range, ShownIf, Spacing
from napari_tessera.two_pass import run_whole

Rule = Literal[
    "otsu",
    "li",
    "yen",
    "isodata",
    "triangle",
    "mean",
    "minimum",
    "multi-otsu",
    "manual",
    "hysteresis",
    "local-mean",
    "local-gaussian",
    "local-median",
    "sauvola",
    "niblack",
]
ALL_BUT_MANUAL = tuple(rule for rule in get_args(Rule) if rule != "manual")


def threshold(
    image: Image,
    *,
    rule: Rule = "otsu",
    classes: Annotated[int, Range(2, 5), ShownIf("rule", "multi-otsu")] = 3,
    low: Annotated[float | None, Range(unit="intensity"), ShownIf("rule", "manual", "hysteresis")] = None,
    high: Annotated[float | None, Range(unit="intensity"), ShownIf("rule", "manual", "hysteresis")] = None,
    radius: Annotated[int, Range(1, 250, unit="px"), ShownIf("rule", *LOCAL_RULES)] = 25,
    offset: Annotated[float, Range(unit="intensity"), ShownIf("rule", *LOCAL_RULES[:3])] = 0.0,
    k: Annotated[float, Range(-5, 5, step=0.05), ShownIf("rule", "sauvola", "niblack")] = 0.2,
    contrast: Annotated[float | None, Range(0, unit="intensity"), ShownIf("rule", "sauvola")] = None,
    objects: Annotated[Literal["bright", "dark"], ShownIf("rule", *ALL_BUT_MANUAL)] = "bright",
    channel: Annotated[int, Range(0, 100)] = 0,
    smoothing: Annotated[float, Range(0, 50, unit="px", step=0.5)] = 0.0,
    output: Literal["classes", "objects"] = "classes",
    connectivity: Annotated[int, Range(1, 3), ShownIf("output", "objects")] = 1,
    min_size: Annotated[int, Range(0, unit="px²"), ShownIf("output", "objects")] = 0,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
) -> Job[Labels | Found]:
    """Label the pixels that are brighter or darker than a level.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array
        Any integer or floating-point dtype, with channels at `channel_axis` if it has any.
    rule : str
        How the level is found. "otsu", "li", "yen", "isodata", "triangle", "mean" and "minimum" find one for the whole
        image from its histogram, "multi-otsu" several. "manual" and "hysteresis" take yours. "local-mean",
        "local-gaussian", "local-median", "sauvola" and "niblack" find one for each pixel from its surroundings, for
        uneven light.
    classes : int
        Number of classes, the background included.
    low : float, optional
        With "manual", the lowest intensity of an object; empty means no lower end. With "hysteresis", the level that
        parts objects from what may belong to them; empty means found, by three-class Otsu. In the image's own units,
        after combining channels and smoothing.
    high : float, optional
        With "manual", the highest intensity of an object; empty means no upper end. With "hysteresis", the upper of
        the two levels; empty means found.
    radius : int
        Half the side of the square around each pixel, which is 2 · radius + 1 wide; larger than the objects.
    offset : float
        How much brighter (or darker) than its surroundings a pixel must be, in intensity.
    k : float
        Weight of the standard deviation around the pixel; a higher one keeps less.
    contrast : float, optional
        Standard deviation of surroundings with full contrast (Sauvola's R); empty means half of the range of the
        image's intensities.
    objects : str
        Whether objects are brighter or darker than the background.
    channel : int
        Channel to use, from 1; 0 is all together: luminance for three or four channels, otherwise their mean.
    smoothing : float
        Standard deviation of a Gaussian that is applied first; 0 is none.
    output : str
        "classes" labels pixels by class; "objects" numbers the connected regions of each class.
    connectivity : int
        1 joins pixels that share a side (in 3-D, a face), 2 an edge too, 3 a corner too.
    min_size : int
        Objects of fewer pixels (in 3-D, voxels) are dropped; 0 keeps all.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis; `radius` and `smoothing` follow it.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.

    Returns
    -------
    (Y, X) or (Z, Y, X) int32 array
        0 is background. As classes: 1 is foreground; with "multi-otsu" 1…`classes` - 1 from dim to bright, and the
        background is the dimmest class, or with dark objects the brightest. As objects: 1…N in raster order of their
        first pixel.

    Raises
    ------
    ParameterError
        If "manual" has neither `low` nor `high`, or `low` is above `high`; if "minimum" finds no two peaks.

    Notes
    -----
    A pixel is foreground if it is strictly brighter than the level; with dark objects, if it is not, but for the local
    rules, where it must be strictly darker. Sauvola's and Niblack's rules were made for dark objects; for bright ones
    they work on the inverted image. A constant image is all background.

    Levels are exact where the values lie on at most 65,536 equal steps, as those of 8- and 16-bit images do in any
    unit; others are found on 65,536 steps of their range, or 256 for the rules that look at the histogram's shape. So
    an image that is multiplied, or to which an offset is added, keeps its labels. Sauvola's rule is the exception: it
    counts from black, so subtract an offset first. Of floating-point images, and of integers of over 16 bits, a level
    that is found is a value of the image: the largest of the background.

    References
    ----------
    Sezgin & Sankur 2004, Survey over image thresholding techniques, doi:10.1117/1.1631315; Otsu 1979,
    doi:10.1109/TSMC.1979.4310076; Sauvola & Pietikäinen 2000, doi:10.1016/S0031-3203(99)00055-2.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> tessera.threshold(np.array([[1, 1, 9], [1, 1, 9], [9, 1, 1]], np.uint8), output="objects")
    array([[0, 0, 1],
           [0, 0, 1],
           [2, 0, 0]], dtype=int32)
    """
    settings = {name: value for name, value in locals().items() if name != "image"}
    return (yield from run_whole(THRESHOLD, image, **settings))
