"""The method `threshold`: pixels brighter or darker than a global or local level.

On blocks it makes two passes: count the values and find the levels, then compare each pixel with its level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from operator import add
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np

from napari_tessera.core.blockwise import Touching, TwoPass, run_whole
from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import PIECE_PX, Job, Piece
from napari_tessera.core.method import Method
from napari_tessera.core.rescale import Grid, Scale, is_short, scaled_number, unscaled_number
from napari_tessera.core.result import AutoValues, MethodOutput
from napari_tessera.core.spec import (
    SIGMA_TITLE,
    Channel,
    ChannelAxis,
    Choices,
    Connectivity,
    Image,
    Labels,
    Range,
    ShownIf,
    Spacing,
    Title,
    Valid,
)

if TYPE_CHECKING:
    from napari_tessera.algorithms.histogram import Measure


LOCAL_RULES = ("local-mean", "local-gaussian", "local-median", "sauvola", "niblack")


def _prepare(image: np.ndarray, **settings: Any) -> Job[np.ndarray]:
    """Make the image grey and smooth."""
    from napari_tessera.algorithms.gaussian import smoothed
    from napari_tessera.core.checks import to_grey

    _check(settings["method"], settings["low"], settings["high"], settings["r"])
    grey = to_grey(image, settings["channel_axis"], settings["channel"], "threshold")
    if settings["sigma"] == 0:
        return grey
    return (yield from smoothed(grey, settings["sigma"], settings["spacing"], settings["scale"]))


def _needs_scale(dtype: np.dtype, *, sigma: float, **_: Any) -> bool:
    return sigma > 0 and not is_short(dtype)


def _check(method: str, low: float | None, high: float | None, r: float | None) -> None:
    if method == "manual" and low is None and high is None:
        raise ParameterError(
            'threshold: the method "manual" needs `low`, `high` or both. Give an object\'s lowest intensity as `low`.',
            "low",
        )
    if method in ("manual", "hysteresis") and low is not None and high is not None and low > high:
        raise ParameterError(f"threshold: `low` is {low:g}, which is above `high`, {high:g}. Swap them.", "low")
    if method == "sauvola" and r == 0:
        raise ParameterError("threshold: `r` is 0. Give a number above 0, or leave it empty.", "r")


def _reach(*, method: str, radius: int, sigma: float, spacing: Spacing, **_: Any) -> int:
    """Return the reach of the Gaussian and of the window."""
    from napari_tessera.algorithms.gaussian import reach_px
    from napari_tessera.algorithms.local_thresholds import local_reach

    return reach_px(sigma, spacing) + (local_reach(method, radius, spacing) if method in LOCAL_RULES else 0)


def _rounds(prepared: np.ndarray, *, method: str, low: float | None, high: float | None, **_: Any) -> int:
    from napari_tessera.algorithms.histogram import rounds_for

    if method == "manual" or (method == "hysteresis" and low is not None and high is not None):
        return 0
    return rounds_for(prepared.dtype)


def _summarise(
    prepared: np.ndarray,
    start: tuple[int, ...],
    earlier: Measure | None,
    *,
    method: str,
    valid: np.ndarray | None = None,
    **_: Any,
) -> Measure:
    from napari_tessera.algorithms.histogram import measure_block

    if method in LOCAL_RULES and earlier is not None and earlier.is_uneven:
        return earlier  # they need no counts, but the steps that values lie on
    return measure_block(prepared if valid is None else prepared[valid], earlier)


def _fit(
    measure: Measure | None, *, method: str, classes: int, low: Any, high: Any, polarity: str, scale: Scale, **_: Any
) -> Job[dict[str, Any]]:
    """Find the levels in the unit of `scale`, or for local rules the grid."""
    from napari_tessera.algorithms.histogram import without_bright
    from napari_tessera.algorithms.thresholds import Brightness, find_level, otsu_levels

    yield from ()
    low, high = (None if level is None else scaled_number(level, scale) for level in (low, high))
    if measure is None:
        return {"levels": [low, high]}
    if method in LOCAL_RULES:
        return {"grid": asdict(measure.value_grid)}
    histogram = measure.histogram
    if histogram is None:
        return {"levels": []}
    if method not in ("hysteresis", "multi-otsu"):
        level, brightness = find_level(histogram, method, polarity)
        return {"levels": [level], "brightness": brightness._asdict()}
    rest, share, times = without_bright(histogram)
    levels = otsu_levels(rest, 3 if method == "hysteresis" else classes)
    if method == "hysteresis":
        levels = sorted([levels[0] if low is None else low, levels[-1] if high is None else high])
    return {"levels": levels, "brightness": Brightness(share, times)._asdict()}


def _apply(
    prepared: np.ndarray,
    core: Piece,
    start: tuple[int, ...],
    fitted: dict[str, Any],
    *,
    method: str,
    polarity: str,
    **settings: Any,
) -> np.ndarray:
    """Return the class of each pixel; with hysteresis 1 is weak and 2 strong."""
    from napari_tessera.algorithms.local_thresholds import local_threshold_mask

    if method in LOCAL_RULES:
        grid = Grid(**fitted["grid"])
        local = {name: settings[name] for name in ("radius", "offset", "k", "r", "spacing", "scale")}
        return local_threshold_mask(prepared, core, grid, method, polarity=polarity, **local).astype(np.uint8)
    values = prepared[core]
    if method == "manual":
        return _between(values, *fitted["levels"]).astype(np.uint8)
    above = np.zeros(values.shape, np.uint8)
    for level in fitted["levels"]:
        above += values > level
    if polarity == "bright" or not fitted["levels"]:
        return above
    last = np.uint8(len(fitted["levels"]))
    return last - above if method == "hysteresis" else np.where(above == last, np.uint8(0), above + np.uint8(1))


def _between(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    is_inside = np.ones(values.shape, bool)
    if low is not None:
        is_inside &= values >= low
    if high is not None:
        is_inside &= values <= high
    return is_inside


def _touching(*, method: str, output: str, **_: Any) -> Touching | None:
    return Touching(_regions, _numbers) if output == "objects" or method == "hysteresis" else None


def _regions(classes: np.ndarray, /, *, method: str, **_: Any) -> np.ndarray:
    """Weak and strong pixels of hysteresis are one region; other classes are apart."""
    return np.minimum(classes, 1) if method == "hysteresis" else classes


def _numbers(
    sizes: np.ndarray, highest: np.ndarray, *, method: str, output: str, min_size: int, **_: Any
) -> np.ndarray:
    """Keep the objects that are large enough and, with hysteresis, hold a strong pixel."""
    keep = highest >= (2 if method == "hysteresis" else 1)
    if output == "classes":
        return keep.astype(np.int64)
    keep &= sizes >= min_size
    keep[0] = False
    return np.cumsum(keep) * keep


def _piece_px(ndim: int, *, method: str, radius: int, **_: Any) -> int:
    """Large pieces where the halo costs most; smaller ones for the median, whose work grows with the window."""
    if method == "local-median":
        return int(2**23 // (2 * radius + 1) ** (ndim - 1))
    return 2 * PIECE_PX if method in ("local-mean", "sauvola", "niblack") else PIECE_PX


def _chosen(fitted: dict[str, Any], *, method: str, scale: Scale, **_: Any) -> AutoValues:
    if method in ("manual", *LOCAL_RULES):
        return {}
    return {"levels": [unscaled_number(level, scale) for level in fitted["levels"]]}


def _notes(fitted: Mapping[str, Any], *, polarity: str, **_: Any) -> tuple[str, ...]:
    from napari_tessera.algorithms.thresholds import Brightness

    return Brightness(**fitted.get("brightness", {})).notes(wanted=polarity)


THRESHOLD = TwoPass(
    reach=_reach,
    prepare=_prepare,
    rounds=_rounds,
    summarise=_summarise,
    merge=add,
    fit=_fit,
    apply=_apply,
    touching=_touching,
    piece_px=_piece_px,
    chosen=_chosen,
    notes=_notes,
    needs_scale=_needs_scale,
)


LevelMethod = Literal[
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
ALL_BUT_MANUAL = tuple(method for method in get_args(LevelMethod) if method != "manual")


def threshold(
    image: Image,
    *,
    method: Annotated[LevelMethod, Choices({"multi-otsu": "Multi-Otsu", "local-gaussian": "Local Gaussian"})] = "otsu",
    classes: Annotated[int, Range(2, 5), ShownIf("method", "multi-otsu")] = 3,
    low: Annotated[float | None, Range(unit="intensity"), ShownIf("method", "manual", "hysteresis")] = None,
    high: Annotated[float | None, Range(unit="intensity"), ShownIf("method", "manual", "hysteresis")] = None,
    radius: Annotated[int, Range(1, 250, unit="px"), ShownIf("method", *LOCAL_RULES)] = 25,
    offset: Annotated[float, Range(unit="intensity"), ShownIf("method", *LOCAL_RULES[:3])] = 0.0,
    k: Annotated[float, Title("Weight (k)"), Range(-5, 5, step=0.05), ShownIf("method", "sauvola", "niblack")] = 0.2,
    r: Annotated[
        float | None, Title("Full contrast (R)"), Range(0, unit="intensity"), ShownIf("method", "sauvola")
    ] = None,
    polarity: Annotated[Literal["bright", "dark"], ShownIf("method", *ALL_BUT_MANUAL)] = "bright",
    channel: Channel = None,
    sigma: Annotated[float, SIGMA_TITLE, Range(0, 50, unit="px", step=0.5)] = 0.0,
    output: Literal["classes", "objects"] = "classes",
    connectivity: Annotated[Connectivity, ShownIf("output", "objects")] = 1,
    min_size: Annotated[int, Range(0, unit="px²"), ShownIf("output", "objects")] = 0,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
    valid: Valid = None,
) -> Job[Labels | MethodOutput]:
    """Label the pixels that are brighter or darker than a level.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array
        Of any number type, with channels at `channel_axis` if it has any.
    method : str
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
    r : float, optional
        Standard deviation of surroundings with full contrast (Sauvola's R); empty means half of the range of the
        image's intensities.
    polarity : str
        Whether objects are brighter or darker than the background.
    channel : int, optional
        Channel to use, from 0; empty takes all together: luminance for three or four channels, otherwise their mean.
    sigma : float
        Standard deviation of a Gaussian that is applied first; 0 is none.
    output : str
        "classes" labels pixels by class; "objects" numbers the connected regions of each class.
    connectivity : int
        1 joins pixels that share a side (in 3-D, a face), 2 an edge too, 3 a corner too.
    min_size : int
        Objects of fewer pixels (in 3-D, voxels) are dropped; 0 keeps all.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis; `radius` and `sigma` follow it.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.
    valid : array of bool, optional
        Where the image is, of its spatial shape; what is outside is left out. None means everywhere.

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

    Things that are about three times as bright as the objects or more, of at most 1.5 % of the pixels, are left out
    when a level is found for the whole image, and a note names them. So does a note if what is found stands out no
    more than noise does, or fills most of the image, as the background does where the objects are of the other
    `polarity`.

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


METHOD = Method(threshold, "Threshold", join="touch", has_preview=True, two_pass=THRESHOLD)
