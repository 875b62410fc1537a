"""The method `watershed`: split touching objects by flooding from markers.

On blocks, the foreground level is found for the whole image first and shared by all blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from napari_tessera.core.blockwise import Settings, TwoPass
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.method import PREVIEW_PX, Method
from napari_tessera.core.rescale import UNSCALED, Scale, scaled_number
from napari_tessera.core.result import MethodOutput
from napari_tessera.core.spec import (
    SIGMA_TITLE,
    Channel,
    ChannelAxis,
    Connectivity,
    Image,
    Labels,
    Points,
    Range,
    ShownIf,
    Spacing,
)
from napari_tessera.methods.threshold import THRESHOLD

if TYPE_CHECKING:
    from napari_tessera.algorithms.histogram import Measure
    from napari_tessera.algorithms.thresholds import Brightness


LEVEL_RULES = ("local", "otsu", "li", "isodata", "triangle")
"""Ways to find the foreground from the intensities."""

USUAL_DIAMETER_PX = 128
"""Objects in light microscopy are rarely wider."""


def watershed(
    image: Image,
    markers: Labels | Points | None = None,
    mask: Annotated[Labels, ShownIf("foreground", "mask")] | None = None,
    *,
    foreground: Literal["local", "otsu", "li", "isodata", "triangle", "mask", "whole"] = "local",
    threshold: Annotated[float | None, Range(unit="intensity"), ShownIf("foreground", *LEVEL_RULES)] = None,
    radius: Annotated[float, Range(1, 500, unit="px"), ShownIf("foreground", "local")] = 6.0,
    polarity: Literal["bright", "dark"] = "bright",
    landscape: Literal["distance", "intensity", "gradient"] = "distance",
    sigma: Annotated[float, SIGMA_TITLE, Range(0, 50, unit="px", step=0.1)] = 0.7,
    min_distance: Annotated[float, Range(0, 500, unit="px")] = 5.0,
    prominence: Annotated[float, Range(0, 1, step=0.01)] = 0.12,
    compactness: Annotated[float, Range(0, 1, step=0.05)] = 0.0,
    watershed_line: bool = False,
    max_hole_size: Annotated[int, Range(0, unit="px²")] = 100,
    min_size: Annotated[int, Range(0, unit="px²")] = 30,
    connectivity: Connectivity = 1,
    channel: Channel = None,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
) -> Job[Labels | MethodOutput]:
    """Split touching objects by flooding a landscape from one marker per object.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), any numeric dtype, with the channels at `channel_axis`.
    markers : array, optional
        One marker per object. Points, (N, 2) as y, x or (N, 3) as z, y, x: each is a marker. Or painted labels of the
        image's shape: each number is a marker, also where it is painted in several places; 0 is not painted. Markers
        outside the foreground are without effect. Empty (None, no point, nothing painted) means that markers are found
        (see `min_distance`).
    mask : array, optional
        Labels of the image's shape: every pixel above 0 is foreground. Needed, and used, where `foreground` is "mask".
    foreground : str
        Which pixels belong to objects. "otsu", "li", "isodata" and "triangle" take what is brighter than one level for
        the whole image. "local" lets the level follow the brightness of the objects around: it finds dim objects beside
        bright ones, and the gaps in a crowd. "mask" takes `mask`. "whole" takes every pixel.
    threshold : float, optional
        Intensity that parts objects from background over the whole image, in the image's own units, after combining
        channels and smoothing; empty means found by the rule. "local" starts from it, by default from Otsu's.
    radius : float
        How far around a pixel "local" looks: sigma of a Gaussian, in pixels along X. About the radius of an object.
    polarity : str
        Whether objects are brighter or darker than the background.
    landscape : str
        What parts objects that touch. "distance": the distance to the background; for round objects with narrow necks
        between them. "intensity": the smoothed image; for objects that are brightest in their middle. "gradient": the
        edges in the smoothed image; for even objects with visible outlines.
    sigma : float
        Sigma of a Gaussian that smooths the image first, in pixels along X; 0 does not smooth.
    min_distance : float
        Smallest distance between two found markers in the same patch of foreground, in pixels along X; 0 takes every
        local maximum of the landscape. Without effect on given markers.
    prominence : float
        How far the landscape must fall between two found markers, as a share of the lower one's height: with 0.1 and
        the distance landscape, objects part where the neck is narrower than 90 % of the smaller one. 0 parts all.
        Without effect on given markers.
    compactness : float
        Weight of the distance to the marker against the landscape: 0 follows the landscape alone, 1 gives each pixel
        to the nearest marker.
    watershed_line : bool
        Leave a line of background, one pixel wide, between objects that touch.
    max_hole_size : int
        Holes in the foreground of at most this many pixels are filled; 0 fills none.
    min_size : int
        Objects of fewer pixels are dropped; 0 drops none.
    connectivity : int
        1 joins pixels across their faces only; 2 and 3 across edges and corners too.
    channel : int, optional
        Channel to work on, from 0; empty takes all together: the luminance of RGB, or the mean.
    spacing : tuple of float, optional
        Size of a pixel along each axis; lengths, distances and smoothing follow it.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.

    Returns
    -------
    array of int32
        The image's spatial shape; 0 is background, objects are 1…N in raster order of their first pixel.

    Raises
    ------
    InputError
        If `foreground` is "mask" and there is no `mask`.
    ParameterError
        If the image does not have the channel.

    Notes
    -----
    Pixels are flooded level by level, within a level in the order in which the flood arrives. Distances are cut into
    64 levels per pixel, the other landscapes into 65,536 levels. `prominence` joins basins after the flood, over the
    highest pass first, which gives what flooding from the h-maxima would. A foreground without any background takes the
    image's edge for it.

    The height of a given marker does not count: all markers begin to flood at once, wherever they lie (Meyer). Markers
    on the tops of hills give what scikit-image gives (100.0 % of the pixels of ten random landscapes), markers anywhere
    86 %: there, a marker on a slope waits until the flood from the top has come down to it. Seeds painted on the slopes
    of one hill thus share it here, while in scikit-image the highest of them takes most of it.

    The level of "local" is the highest of three, all counted from the median of the background: half of the level for
    the whole image, 60 % of the brightness of the objects near by, and 85 % of the mean of the surroundings. These
    shares and the defaults were found on the training images of BBBC038 (nuclei of 8 to 40 px); for much larger
    objects raise `radius`, or use "otsu".

    References
    ----------
    Meyer F. (1994), Topographic distance and watershed lines, doi:10.1016/0165-1684(94)90060-4. Neubert P., Protzel P.
    (2014), Compact watershed and preemptive SLIC, doi:10.1109/ICPR.2014.181.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> image = np.zeros((5, 9), np.uint8)
    >>> image[1:4, 1:4] = image[1:4, 5:8] = image[2, 4] = 200
    >>> tessera.watershed(image, foreground="otsu", sigma=0, min_distance=2, min_size=0)
    array([[0, 0, 0, 0, 0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0, 2, 2, 2, 0],
           [0, 1, 1, 1, 1, 2, 2, 2, 0],
           [0, 1, 1, 1, 0, 2, 2, 2, 0],
           [0, 0, 0, 0, 0, 0, 0, 0, 0]], dtype=int32)
    """
    from napari_tessera.algorithms.gaussian import is_held, smoothed
    from napari_tessera.algorithms.histogram import step_scale
    from napari_tessera.algorithms.split_objects import Settings, elevation_map, split
    from napari_tessera.algorithms.thresholds import fill_holes as filled
    from napari_tessera.core.checks import to_grey

    grey = to_grey(image, channel_axis, channel, "watershed")
    _check(foreground, mask)
    scale = UNSCALED if is_held(image.dtype) else (yield from subtask(step_scale(grey), 0, 0.1, 8))
    values = yield from subtask(smoothed(grey, sigma, spacing, scale), 0.1, 0.9, 8)
    threshold = None if threshold is None else scaled_number(threshold, scale)
    if polarity == "dark":
        np.negative(values, out=values)
        threshold = None if threshold is None else -threshold
    inside, brightness = yield from subtask(_foreground(values, foreground, mask, threshold, radius, spacing), 1, 1, 8)
    if max_hole_size:
        yield from subtask(filled(inside, max_hole_size, connectivity), 2, 1, 8)
    hills = yield from subtask(elevation_map(landscape, values, inside, spacing), 3, 1, 8)
    del values
    settings = Settings(min_distance, prominence, compactness, watershed_line, connectivity, spacing)
    labels = yield from subtask(split(hills, inside, markers, settings, min_size), 4, 4, 8)
    return MethodOutput(labels, notes=brightness.notes(polarity))


def _check(foreground: str, mask: np.ndarray | None) -> None:
    if foreground == "mask" and mask is None:
        raise InputError(
            "watershed: `foreground` is 'mask', but no `mask` was given. "
            "Give labels (every pixel above 0 counts), or choose another foreground."
        )


def _foreground(
    values: np.ndarray,
    rule: str,
    mask: np.ndarray | None,
    level: float | None,
    radius: float,
    spacing: tuple[float, ...] | None,
) -> Job[tuple[np.ndarray, Brightness]]:
    from napari_tessera.algorithms.thresholds import Brightness, bright_pixels

    if rule == "whole":
        return np.ones(values.shape, bool), Brightness()
    if rule == "mask" and mask is not None:
        return mask > 0, Brightness()
    return (yield from bright_pixels(values, rule, level, radius, spacing))


def reach(**parameters: Any) -> int:
    """Return how far from a pixel the image can change its label, in pixels: an object and what lies around it.

    The flood itself has no bound: the label of a pixel depends on all of the object it belongs to. Objects up to
    `USUAL_DIAMETER_PX` wide come out of overlapping blocks as they come out of the whole image.
    """
    around = 4 * (parameters.get("sigma", 0) + parameters.get("radius", 0))
    return int(max(USUAL_DIAMETER_PX, 4 * parameters.get("min_distance", 0)) + around)


ROUNDING = 1e-6
"""More than the error, in halves of the range, of values that a block smooths in a unit of its own."""


def measured_over_whole(**settings: Any) -> tuple[TwoPass, Settings, Callable[[dict[str, Any]], Settings]] | None:
    """Return what to measure over the whole image, its settings, and how they are fixed then for the blocks.

    None if no level is to be found: it is given, or the foreground needs none.
    """
    if settings["threshold"] is not None or settings["foreground"] in ("mask", "whole"):
        return None

    def fix(fitted: dict[str, Any]) -> Settings:
        origin, unit = Fraction(fitted["scale"].origin), Fraction(fitted["scale"].unit)
        level = Fraction(fitted["level"])
        return {**settings, "threshold": origin + unit * (-level if settings["polarity"] == "dark" else level)}

    rule = "otsu" if settings["foreground"] == "local" else settings["foreground"]
    return LEVEL, {**settings, "method": rule, "low": None, "high": None}, fix


def _prepare(image: np.ndarray, **settings: Any) -> Job[np.ndarray]:
    """Do what watershed does before it looks for the level; dark objects are made bright."""
    from napari_tessera.algorithms.gaussian import smoothed
    from napari_tessera.core.checks import to_grey

    grey = to_grey(image, settings["channel_axis"], settings["channel"], "watershed")
    values = yield from smoothed(grey, settings["sigma"], settings["spacing"], settings["scale"])
    if settings["polarity"] == "dark":
        np.negative(values, out=values)
    return values


def _needs_scale(dtype: np.dtype, **_: Any) -> bool:
    from napari_tessera.algorithms.gaussian import is_held

    return not is_held(dtype)


def _fit(measure: Measure, *, method: str, scale: Scale, **_: Any) -> Job[dict[str, Any]]:
    """Find the level of the bright objects; a constant image has none, and nothing is brighter than it is."""
    from napari_tessera.algorithms.thresholds import find_level

    yield from ()
    histogram = measure.histogram
    if histogram is None:
        return {"level": float(measure.value_grid.low)}
    level, brightness = find_level(histogram, method)
    return {"level": level if scale == UNSCALED else level + ROUNDING, "brightness": brightness._asdict()}


def _notes(fitted: Mapping[str, Any], *, polarity: str, **_: Any) -> tuple[str, ...]:
    from napari_tessera.algorithms.thresholds import Brightness

    return Brightness(**fitted.get("brightness", {})).notes(polarity)


LEVEL = replace(THRESHOLD, prepare=_prepare, fit=_fit, needs_scale=_needs_scale, notes=_notes)


METHOD = Method(
    watershed,
    "Watershed",
    join="overlap",
    has_preview=True,
    preview_px=PREVIEW_PX // 2,
    reach=reach,
    measured_over_whole=measured_over_whole,
)
