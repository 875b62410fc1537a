"""The method `watershed`: split touching objects by flooding from markers.

On blocks, the foreground level is found for the whole image first and shared by all blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np

from napari_tessera.core.blockwise import BlockPlan, Overlapping, Settings, Stored, TwoPass
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, middle, subtask
from napari_tessera.core.method import PREVIEW_PX, Method
from napari_tessera.core.rescale import UNSCALED, Scale, is_short, scaled_number
from napari_tessera.core.result import AutoValues, MethodOutput
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
    Valid,
)
from napari_tessera.methods.threshold import THRESHOLD

if TYPE_CHECKING:
    from napari_tessera.algorithms.histogram import Measure
    from napari_tessera.algorithms.seeded_growing import Seeds
    from napari_tessera.algorithms.thresholds import Brightness
    from napari_tessera.core.tiles import Tile


LEVEL_RULES = ("local", "otsu", "li", "isodata", "triangle")
"""Ways to find the foreground from the intensities."""

MIDDLE_PX, MIDDLE_PLANES = 2048, 32
"""Sides of the middle part of an image by which the size of the objects is found for blocks."""
USUAL_DIAMETER_PX = 128
"""Objects in light microscopy are rarely wider."""


def watershed(
    image: Image,
    markers: Labels | Points | None = None,
    mask: Annotated[Labels, ShownIf("foreground", "mask")] | None = None,
    *,
    foreground: Literal["local", "otsu", "li", "isodata", "triangle", "mask", "whole"] = "local",
    threshold: Annotated[float | None, Range(unit="intensity"), ShownIf("foreground", *LEVEL_RULES)] = None,
    radius: Annotated[float | None, Range(1, 500, unit="px"), ShownIf("foreground", "local")] = None,
    polarity: Literal["bright", "dark"] = "bright",
    landscape: Literal["distance", "intensity", "gradient"] = "distance",
    sigma: Annotated[float | None, SIGMA_TITLE, Range(0, 50, unit="px", step=0.1)] = None,
    min_distance: Annotated[float | None, Range(0, 500, unit="px")] = None,
    prominence: Annotated[float, Range(0, 1, step=0.01)] = 0.12,
    compactness: Annotated[float, Range(0, 1, step=0.05)] = 0.0,
    watershed_line: bool = False,
    max_hole_size: Annotated[int | None, Range(0, unit="px²")] = None,
    min_size: Annotated[int, Range(0, unit="px²")] = 30,
    connectivity: Connectivity = 1,
    channel: Channel = None,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
    valid: Valid = None,
) -> Job[Labels | MethodOutput]:
    """Split touching objects by flooding a landscape from one marker per object.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), of any number type, with the channels at `channel_axis`.
    markers : array, optional
        One marker per object. Points, (N, 2) as y, x or (N, 3) as z, y, x: each is a marker. Or painted labels of the
        image's shape: each number is a marker, also where it is painted in several places; 0 is not painted. Markers
        outside the foreground are without effect; a note counts them. Empty (no layer, no point, nothing painted) means
        that markers are found.
    mask : array, optional
        Labels of the image's shape: every pixel above 0 is foreground. Needed, and used, where `foreground` is "mask".
    foreground : str
        Which pixels belong to objects. "otsu", "li", "isodata" and "triangle" take what is brighter than one level for
        the whole image. "local" lets the level follow the brightness of the objects around: it finds dim objects beside
        bright ones, and the gaps in a crowd. "mask" takes `mask`. "whole" takes every pixel.
    threshold : float, optional
        Intensity that parts objects from background over the whole image, in the image's own units, after combining
        channels and smoothing; empty means found by the rule. "local" starts from it, by default from Otsu's.
    radius : float, optional
        How far around a pixel "local" looks: sigma of a Gaussian, in pixels along X. About the radius of an object;
        empty means 6, and more for large objects.
    polarity : str
        Whether objects are brighter or darker than the background.
    landscape : str
        What parts objects that touch. "distance": the distance to the background; for round objects with narrow necks
        between them. "intensity": the smoothed image; for objects that are brightest in their middle. "gradient": the
        edges in the smoothed image; for even objects with visible outlines.
    sigma : float, optional
        Sigma of a Gaussian that smooths the image first, in pixels along X; 0 does not smooth. Empty means 0.7, and
        more for large objects.
    min_distance : float, optional
        Smallest distance between two found markers in the same patch of foreground, in pixels along X; 0 takes every
        local maximum of the landscape. Without effect on given markers. Empty means 5, and more for large objects.
    prominence : float
        How far the landscape must fall between two found markers, as a share of the lower one's height: with 0.1 and
        the distance landscape, objects part where the neck is narrower than 90 % of the smaller one. 0 parts all.
        Without effect on given markers.
    compactness : float
        Weight of the distance to the marker against the landscape: 0 follows the landscape alone, 1 gives each pixel
        to the nearest marker.
    watershed_line : bool
        Leave a line of background, one pixel wide, between objects that touch.
    max_hole_size : int, optional
        Holes in the foreground of at most this many pixels are filled; 0 fills none. Empty means 100, and more for
        large objects.
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
    valid : array of bool, optional
        Where the image is, of its spatial shape; what is outside is left out. None means everywhere.

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
    shares and the defaults were found on the training images of BBBC038 (nuclei of 8 to 40 px). Pixels over seven times
    as bright as the objects usually are count in neither of the means.

    Things that are about three times as bright as the objects or more, of at most 1.5 % of the pixels, are left out
    when the level is found, and a note names them. So does a note if objects stand out no more than noise does, or fill
    most of the image, as the background does where the objects are of the other `polarity`.

    Where the objects are larger than 25 px in radius, what is left empty grows with them, and the flood is repeated.
    The size is found from the thickness of the foreground and the objects of the first flood, with the landscape
    "distance" and without given markers; the record has the values.

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
    found, chosen = yield from _watershed(**locals())
    return MethodOutput(found.labels, notes=found.notes, chosen=chosen)


def _watershed(
    image: np.ndarray, markers: np.ndarray | None, mask: np.ndarray | None, **parameters: Any
) -> Job[tuple[_Found, AutoValues]]:
    """Segment an image, and if the objects are large, once more; return the automatic values, too."""
    from napari_tessera.algorithms.histogram import step_scale
    from napari_tessera.core.checks import to_grey

    asked = {name: parameters[name] for name in SETTINGS}
    threshold, landscape, foreground = (parameters[name] for name in ("threshold", "landscape", "foreground"))
    grey = to_grey(image, parameters["channel_axis"], parameters["channel"], "watershed")
    _check(foreground, mask)
    scale = UNSCALED if is_short(image.dtype) else (yield from subtask(step_scale(grey), 0, 0.1, 8))
    level = None if threshold is None else scaled_number(threshold, scale)
    is_bright = parameters["polarity"] == "bright"
    asked |= {"mask": mask, "level": level if level is None or is_bright else -level, "scale": scale}
    settings = at_size(asked)
    is_open = settings != asked and markers is None and landscape == "distance" and foreground in LEVEL_RULES
    found = yield from subtask(_segment(grey, markers, settings), 0.1, 4 if is_open else 7.9, 8)
    factor = _size_factor(found, parameters["spacing"]) if is_open else 1.0
    if factor == 1:
        return found, {}
    again = {**at_size(asked, factor), "level": found.level}
    labels = (yield from subtask(_segment(grey, markers, again), 4.1, 3.9, 8)).labels
    return found._replace(labels=labels), {name: round(again[name], 2) for name in USUAL if asked[name] is None}


USUAL = {"sigma": 0.7, "radius": 6.0, "min_distance": 5.0, "max_hole_size": 100}
"""Automatic values for objects of up to 25 px in radius."""
LARGEST = {"sigma": 50.0, "radius": 500.0, "min_distance": 500.0, "max_hole_size": 10**6}
USUAL_RADIUS_PX, LARGE_RADII_PX = 8.0, (25.0, 40.0)
"""The automatic values suit objects of the first radius; between the others they grow to be in proportion to it."""
LARGE_SHARES, SMALL_PART = (0.6, 0.4, 1.35), 1 / 6
"""Radii of large objects as shares of half the thickness of the foreground: the least of the upper quarter, and the
least and the largest by area; and what part of a side that thickness is at most."""
SETTINGS = (
    *("foreground", "radius", "polarity", "landscape", "sigma", "min_distance", "prominence", "compactness"),
    *("watershed_line", "max_hole_size", "min_size", "connectivity", "spacing", "valid"),
)


def at_size(settings: Settings, factor: float = 1.0) -> Settings:
    """Return the settings with automatic values for objects that are larger than usual by a factor."""
    found = {name: min(usual * factor, LARGEST[name]) for name, usual in USUAL.items()}
    found["max_hole_size"] = int(min(USUAL["max_hole_size"] * factor**2, LARGEST["max_hole_size"]))
    return {**settings, **{name: value for name, value in found.items() if settings[name] is None}}


class _Found(NamedTuple):
    """Labels, half the thickness of the foreground in pixels along X, the level, and what is unusual about the inputs.

    The squared distances to the background over the distances are half the radius of a disc (and 0.4 of that of a
    ball), however ragged its outline is.
    """

    labels: np.ndarray
    radius_px: float
    level: float | None
    brightness: tuple[str, ...]  # notes
    markers: Seeds | None
    is_inside: np.ndarray  # which pixels of the markers are foreground

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is unusual, in sentences."""
        if self.markers is None:
            return self.brightness
        used = np.unique(self.markers.owners[self.is_inside])
        return (*self.brightness, *_notes_on_markers(len(self.markers.numbers), len(used)))


def _segment(grey: np.ndarray, markers: np.ndarray | None, settings: Settings) -> Job[_Found]:
    from napari_tessera.algorithms.gaussian import smoothed
    from napari_tessera.algorithms.seeded_growing import read_seeds
    from napari_tessera.algorithms.thresholds import fill_holes
    from napari_tessera.algorithms.watershed import Settings, elevation_map, split

    spacing, connectivity, landscape = settings["spacing"], settings["connectivity"], settings["landscape"]
    values = yield from subtask(smoothed(grey, settings["sigma"], spacing, settings["scale"]), 0, 1, 8)
    if settings["polarity"] == "dark":
        np.negative(values, out=values)
    inside, level, brightness = yield from subtask(_foreground(values, settings), 1, 1, 8)
    if settings["valid"] is not None:
        inside &= settings["valid"]
    if settings["max_hole_size"]:
        yield from subtask(fill_holes(inside, settings["max_hole_size"], connectivity), 2, 1, 8)
    hills = yield from subtask(elevation_map(landscape, values, inside, spacing), 3, 1, 8)
    del values
    distance = hills.height if landscape == "distance" else np.zeros(1, np.float32)
    thickness = float(np.einsum("i,i", distance.ravel(), distance.ravel())) / max(float(distance.sum()), 1e-9)
    how = Settings(
        settings["min_distance"], settings["prominence"], settings["compactness"], settings["watershed_line"],
        connectivity, spacing,
    )  # fmt: skip
    seeds = None if markers is None else read_seeds(markers, inside.shape)
    is_inside = np.zeros(0, bool) if seeds is None else inside[tuple(seeds.pixels)]
    labels = yield from subtask(split(hills, inside, seeds, how, settings["min_size"]), 4, 4, 8)
    return _Found(labels, 2 * thickness, level, brightness.notes(settings["polarity"]), seeds, is_inside)


def _notes_on_markers(given: int, used: int) -> tuple[str, ...]:
    """Return a note if some markers have no pixel in the foreground."""
    outside = given - used
    if not outside:
        return ()
    lie = "lies outside the foreground and was" if outside == 1 else "lie outside the foreground and were"
    return (f"{outside} of {given} marker{'' if given == 1 else 's'} {lie} not used.",)


def _size_factor(found: _Found, spacing: tuple[float, ...] | None) -> float:
    """Return how much larger than usual the objects are; 1 if they are not large.

    The foreground is as thick as large objects are, but so is a blob of many small ones. Of objects, a quarter have
    that radius, or half of their area belongs to objects of it (the rest are pieces of others and specks); a blob is
    larger than that, or fills much of the image.
    """
    low, high = LARGE_RADII_PX
    if found.radius_px <= low or not found.labels.any():
        return 1.0
    ndim = found.labels.ndim
    pixel = 1.0 if spacing is None else float(np.prod(np.array(spacing) / spacing[-1]))
    volumes = np.sort(np.bincount(found.labels.reshape(-1))[1:]) * pixel
    radii = np.sqrt(volumes / np.pi) if ndim == 2 else np.cbrt(0.75 * volumes / np.pi)
    by_area = radii[np.searchsorted(np.cumsum(volumes), volumes.sum() / 2)]
    of_quarter, least, most = (share * found.radius_px for share in LARGE_SHARES)
    is_among_many = least <= by_area <= most and found.radius_px <= SMALL_PART * min(found.labels.shape[-2:])
    if np.percentile(radii, 75) < of_quarter and not is_among_many:
        return 1.0
    radius_px = min(found.radius_px, by_area)
    return 1 + max(0.0, min(1.0, (radius_px - low) / (high - low))) * (radius_px / USUAL_RADIUS_PX - 1)


def _check(foreground: str, mask: np.ndarray | None) -> None:
    if foreground == "mask" and mask is None:
        raise InputError(
            "watershed: `foreground` is 'mask', but no `mask` was given. "
            "Give labels (every pixel above 0 counts), or choose another foreground."
        )


def _foreground(values: np.ndarray, settings: Settings) -> Job[tuple[np.ndarray, float | None, Brightness]]:
    """Return the foreground, the level of the whole image, and what is unusual about its brightness."""
    from napari_tessera.algorithms.thresholds import Brightness, bright_pixels

    rule, mask = settings["foreground"], settings["mask"]
    if rule in ("whole", "mask"):
        inside = np.ones(values.shape, bool) if rule == "whole" else mask > 0
        return inside, None, Brightness()
    names = ("level", "radius", "spacing", "valid")
    return (yield from bright_pixels(values, rule, *(settings[name] for name in names)))


def reach(**parameters: Any) -> int:
    """Return how far from a pixel the image can change its label, in pixels: an object and what lies around it.

    The flood itself has no bound: the label of a pixel depends on all of the object it belongs to. Objects up to
    `USUAL_DIAMETER_PX` wide come out of overlapping blocks as they come out of the whole image.
    """
    known = at_size({**dict.fromkeys(USUAL), **parameters})
    return int(max(USUAL_DIAMETER_PX, 4 * known["min_distance"]) + 4 * (known["sigma"] + known["radius"]))


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
    return LEVEL, {**at_size(settings), "method": rule, "low": None, "high": None}, fix


def overlapping(**settings: Any) -> Overlapping:
    """Return what is measured over the whole image, and how blocks are labelled then."""
    measured = measured_over_whole(**settings)
    return Overlapping(measured and measured[:2], partial(_plan, settings))


def _plan(settings: Settings, fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
    """Fix the level, and the automatic values by the objects in the middle of the image."""
    measured = measured_over_whole(**settings)
    fixed = settings if measured is None else measured[2](dict(fitted))
    notes = () if measured is None else _notes(fitted, **settings)
    shape = image.shape[: len(image.shape) - (settings["channel_axis"] is not None)]
    sides = (MIDDLE_PLANES,) * (len(shape) - 2) + (MIDDLE_PX,) * 2
    chosen: AutoValues = {}
    if settings["foreground"] in LEVEL_RULES and None in [settings[name] for name in USUAL]:
        window = middle(shape, sides)
        part = {**fixed, "valid": image.valid(window)}
        chosen = MethodOutput.of((yield from watershed(image[window], **part))).chosen
    around = reach(**{**fixed, **chosen})
    return BlockPlan(
        partial(label_block, found=chosen, shape=shape, **fixed),
        (around,) * len(shape),
        told=_place_of,
        notes=notes,
        chosen=chosen,
        notes_on_blocks=_notes_on_blocks,
    )


def _place_of(tile: Tile) -> dict[str, Any]:
    return {"read": tile.read, "inner": tile.inner}


def label_block(
    image: np.ndarray,
    markers: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    found: AutoValues,
    shape: tuple[int, ...],
    read: tuple[slice, ...],
    inner: tuple[slice, ...],
    **settings: Any,
) -> Job[MethodOutput]:
    """Label one block, with the automatic values of the whole image, and tell which markers are in it.

    The numbers of painted markers, and the places of points in the whole image of `shape`, tell whether two blocks have
    the same one. Other notes are those of the plan.
    """
    from napari_tessera.core.checks import is_labels

    known = at_size({**settings, **(found if markers is None else {})})
    result, _ = yield from _watershed(image, markers, mask, **known)
    seeds = result.markers
    if markers is None or seeds is None:
        return MethodOutput(result.labels)
    names = seeds.numbers[seeds.owners]
    if not is_labels(markers, result.labels.shape):
        starts = np.array([part.start for part in read])[:, None]
        names = np.ravel_multi_index(tuple(seeds.pixels + starts), shape)
    first, last = (np.array([getattr(part, end) for part in inner])[:, None] for end in ("start", "stop"))
    is_here = ((seeds.pixels >= first) & (seeds.pixels < last)).all(axis=0)
    told = {"given": np.unique(names[is_here]), "used": np.unique(names[is_here & result.is_inside])}
    return MethodOutput(result.labels, chosen=told)


def _notes_on_blocks(told: Sequence[AutoValues]) -> tuple[str, ...]:
    """Return a note if some markers have no pixel in the foreground of any block."""
    given, used = (len({marker for each in told for marker in each.get(key, ())}) for key in ("given", "used"))
    return _notes_on_markers(given, used)


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
    return not is_short(dtype)


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
    usual=USUAL,
    measured_over_whole=measured_over_whole,
    overlapping=overlapping,
)
