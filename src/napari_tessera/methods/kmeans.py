"""The method `kmeans`: k classes of pixels with similar intensity, channels or colour.

On blocks it makes two passes: sum up the pixels and find the centres, then assign each pixel to its nearest centre.
"""

from __future__ import annotations

from dataclasses import asdict
from operator import add
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from napari_tessera.core.blockwise import TwoPass, run_whole
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import PIECE_PX, Job, Piece, in_threads, pieces
from napari_tessera.core.method import Method
from napari_tessera.core.rescale import is_short
from napari_tessera.core.result import MethodOutput
from napari_tessera.core.spec import (
    SIGMA_TITLE,
    Channel,
    ChannelAxis,
    Choices,
    Image,
    Labels,
    Range,
    Seed,
    ShownIf,
    Spacing,
    Title,
    Valid,
)

if TYPE_CHECKING:
    from napari_tessera.algorithms.color import ColourCounts, StepColours
    from napari_tessera.algorithms.histogram import Histogram, Measure
    from napari_tessera.algorithms.kmeans import PixelSample, Place

    Summary = Measure | ColourCounts | PixelSample


def _prepare(image: np.ndarray, **settings: Any) -> Job[np.ndarray]:
    """Bring the channels to the end, as many as are used, and smooth them."""
    from napari_tessera.algorithms.color import white
    from napari_tessera.algorithms.gaussian import smoothed

    channels = _used_channels(image, **settings)
    if settings["sigma"] == 0:
        return channels
    prepared = np.empty(channels.shape, np.float32)
    how = settings["sigma"], settings["spacing"], settings["scale"]
    for number in range(channels.shape[-1]):
        values = yield from smoothed(channels[..., number], *how)
        prepared[..., number] = values
        if settings["features"] == "cielab":
            prepared[..., number] /= white(image.dtype)
    return prepared


def _used_channels(
    image: np.ndarray, *, features: str, channel: int | None, channel_axis: int | None, **_: Any
) -> np.ndarray:
    """Return the channels that count, (Y, X, C) or (Z, Y, X, C)."""
    from napari_tessera.core.checks import channels_of

    channels = channels_of(image, features, channel, channel_axis, "kmeans")
    if features == "cielab" and image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"kmeans: CIELAB needs colours from 0 to 1, but the image goes from {image.min():g} to {image.max():g}. "
            'Divide it by its white, or use `features` "channels".'
        )
    return channels


def _needs_scale(dtype: np.dtype, *, sigma: float, features: str, **_: Any) -> bool:
    return sigma > 0 and features != "cielab" and not is_short(dtype)


def _reach(*, sigma: float, spacing: Spacing, **_: Any) -> int:
    from napari_tessera.algorithms.gaussian import reach_px

    return reach_px(sigma, spacing)


def _way(prepared: np.ndarray, position_weight: float) -> Literal["histogram", "colours", "sample"]:
    """Return how the pixels are summed up: exactly where that takes little memory whatever the image."""
    channels = prepared.shape[-1]
    if position_weight > 0 or channels > 3:
        return "sample"
    if channels == 1:
        return "histogram"
    return "colours" if prepared.dtype == np.uint8 else "sample"


def _rounds(prepared: np.ndarray, *, position_weight: float, **_: Any) -> int:
    from napari_tessera.algorithms.histogram import rounds_for

    return rounds_for(prepared.dtype) if _way(prepared, position_weight) == "histogram" else 1


def _summarise(
    prepared: np.ndarray,
    start: tuple[int, ...],
    earlier: Measure | None,
    *,
    position_weight: float,
    seed: int,
    valid: np.ndarray | None = None,
    **_: Any,
) -> Summary:
    from napari_tessera.algorithms.color import count_colours
    from napari_tessera.algorithms.histogram import measure_block
    from napari_tessera.algorithms.kmeans import sample_block

    way = _way(prepared, position_weight)
    if way == "histogram":
        return measure_block(prepared[..., 0] if valid is None else prepared[valid, 0], earlier)
    if way == "colours":
        return count_colours(prepared.reshape(-1, prepared.shape[-1]) if valid is None else prepared[valid])
    return sample_block(prepared, start, seed, valid)


def _fit(summary: Summary, *, n_clusters: int, restarts: int, seed: int, **settings: Any) -> Job[dict[str, Any]]:
    """Find the levels between classes of one value, or the centres of classes of several."""
    from napari_tessera.algorithms.histogram import Measure
    from napari_tessera.algorithms.kmeans import brightness, fit_centres

    if isinstance(summary, Measure):
        return {"levels": _levels(summary.histogram, n_clusters)}
    settings = _in_units(settings)
    points, weights, place = yield from _points(summary, **settings)
    centres = yield from fit_centres(points, weights, n_clusters, restarts, seed)
    channels = len(place.origins)
    order = np.argsort(brightness(centres, channels, settings["features"]), kind="stable")
    return {"centres": centres[order].tolist(), "place": asdict(place)}


def _in_units(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with the weight of positions in the unit that the image was brought to."""
    return {**settings, "position_weight": settings["position_weight"] / settings["scale"].unit}


def _points(summary: ColourCounts | PixelSample, **settings: Any) -> Job[tuple[np.ndarray, np.ndarray, Place]]:
    """Return the points to fit, neighbours together, their weights and where they lie."""
    from napari_tessera.algorithms.color import ColourCounts, StepColours
    from napari_tessera.algorithms.kmeans import feature_points, neighbour_order, place_of

    if isinstance(summary, ColourCounts):
        return (yield from _points_of_colours(summary, **settings))
    if settings["features"] != "cielab" and settings["position_weight"] == 0:
        stepped = StepColours.of_values(summary.values)
        if stepped is not None:
            return _points_of_steps(stepped)
    place = place_of(summary.values, settings["features"])
    points = feature_points(summary.values, summary.positions, place, **settings)
    return points[neighbour_order(points)], np.ones(len(points)), place


def _points_of_colours(summary: ColourCounts, **settings: Any) -> Job[tuple[np.ndarray, np.ndarray, Place]]:
    from napari_tessera.algorithms.color import StepColours
    from napari_tessera.algorithms.kmeans import feature_points, place_of

    if settings["features"] != "cielab":
        return _points_of_steps(StepColours.of_counts(summary))
    colours = summary.colours
    place = place_of(colours, "cielab")
    points = np.empty(colours.shape)

    def convert(piece: Piece) -> None:
        points[piece] = feature_points(colours[piece], None, place, **settings)

    yield from in_threads(convert, pieces((len(colours),)), "Converting colours")
    return points, summary.counts.astype(np.float64), place


def _points_of_steps(stepped: StepColours) -> tuple[np.ndarray, np.ndarray, Place]:
    from napari_tessera.algorithms.kmeans import Place

    place = Place(stepped.origins, stepped.step)
    return stepped.colours.astype(np.float64), stepped.counts.astype(np.float64), place


def _levels(histogram: Histogram | None, n_clusters: int) -> list[float]:
    """Return the levels half-way between the means of the best classes."""
    from napari_tessera.algorithms.kmeans import best_breaks, class_means

    if histogram is None:
        return []
    occupied = np.flatnonzero(histogram.counts)
    counts, steps = histogram.counts[occupied], occupied.astype(np.float64)
    means = class_means(counts, steps, best_breaks(counts, steps, n_clusters))
    return [histogram.value_at(step) for step in (means[:-1] + means[1:]) / 2]


def _apply(
    prepared: np.ndarray, core: Piece, start: tuple[int, ...], fitted: dict[str, Any], **settings: Any
) -> np.ndarray:
    """Return the class of each pixel, from 1."""
    from napari_tessera.algorithms.kmeans import Place, feature_points, positions_in
    from napari_tessera.algorithms.kmeans_assignment import nearest_centre

    pixels = prepared[core]
    shape = pixels.shape[:-1]
    if "levels" in fitted:
        classes = np.ones(shape, np.uint8)
        for level in fitted["levels"]:
            classes += pixels[..., 0] > level
        return classes
    points, centres = pixels.reshape(-1, pixels.shape[-1]), np.array(fitted["centres"])
    place = Place(**fitted["place"])
    if _way(prepared, settings["position_weight"]) == "colours" and settings["features"] != "cielab":
        centres = centres * place.unit + np.array(place.origins)
        return nearest_centre(points, centres.astype(np.float32)).reshape(shape) + np.uint8(1)
    positions = positions_in(shape, start) if settings["position_weight"] > 0 else None
    points = feature_points(points, positions, place, **_in_units(settings))
    return nearest_centre(points, centres).reshape(shape) + np.uint8(1)


KMEANS = TwoPass(
    reach=_reach,
    prepare=_prepare,
    rounds=_rounds,
    summarise=_summarise,
    merge=add,
    fit=_fit,
    apply=_apply,
    touching=lambda **_: None,
    piece_px=lambda ndim, **_: PIECE_PX,
    needs_scale=_needs_scale,
)


def kmeans(
    image: Image,
    *,
    n_clusters: Annotated[int, Title("Number of classes"), Range(2, 20)] = 3,
    features: Annotated[Literal["channels", "intensity", "cielab"], Choices({"cielab": "CIELAB"})] = "channels",
    channel: Annotated[Channel, ShownIf("features", "intensity")] = None,
    sigma: Annotated[float, SIGMA_TITLE, Range(0, 50, unit="px", step=0.5)] = 0.0,
    position_weight: Annotated[float, Range(0, 1e9, unit="intensity/px")] = 0.0,
    restarts: Annotated[int, Title("Repeated starts"), Range(1, 50)] = 4,
    seed: Seed = 0,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
    valid: Valid = None,
) -> Job[Labels | MethodOutput]:
    """Sort pixels into classes of like intensity or colour.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array
        Of any number type, with channels at `channel_axis` if it has any.
    n_clusters : int
        Number of classes.
    features : str
        What makes pixels alike. "channels": the values of all channels, such as red, green and blue. "intensity": one
        grey value, see `channel`. "cielab": lightness and two colour axes, spaced as the eye sees differences, from
        the first three channels as sRGB.
    channel : int, optional
        Channel to use as intensity, from 0; empty takes all together: luminance for three or four channels, otherwise
        their mean.
    sigma : float
        Standard deviation of a Gaussian that is applied to each channel first; 0 is none.
    position_weight : float
        How much difference in intensity (with "cielab", in lightness, 0 to 100) a distance of one pixel is worth; 0
        ignores where pixels lie. Distance follows `spacing`.
    restarts : int
        Random starts, of which the best is taken. With one grey value the best classes are found without any.
    seed : int
        Seed of the random starts; the same seed gives the same labels.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.
    valid : array of bool, optional
        Where the image is, of its spatial shape; what is outside is left out. None means everywhere.

    Returns
    -------
    (Y, X) or (Z, Y, X) int32 array
        1…`n_clusters` from dark to bright. Every pixel has a class, none is 0. There are fewer where the image has
        fewer different values.

    Raises
    ------
    InputError
        If "cielab" is asked for without three channels, or for floating-point values outside 0 to 1.

    Notes
    -----
    One grey value: the classes with the least variance within them, exactly, on the counts of all values (of 65,536
    steps where these do not lie on as many equal steps). 8-bit images of two or three channels: Lloyd's algorithm on
    the different colours with their counts, which is exact. Others, and all with `position_weight`: the centres are
    fitted to at most 131,072 pixels drawn by `seed`, and every pixel goes to its nearest centre. Whether two classes
    could be better still cannot be known for more than one feature; see `restarts`.

    References
    ----------
    Lloyd 1982, doi:10.1109/TIT.1982.1056489; Arthur & Vassilvitskii 2007, k-means++; Kanungo et al. 2002,
    doi:10.1109/TPAMI.2002.1017616; Grønlund et al. 2017, arXiv:1701.07204.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> tessera.kmeans(np.array([[7, 90, 8], [200, 92, 7]], np.uint8), n_clusters=3)
    array([[1, 2, 1],
           [3, 2, 1]], dtype=int32)
    """
    settings = {name: value for name, value in locals().items() if name != "image"}
    return (yield from run_whole(KMEANS, image, **settings))


METHOD = Method(kmeans, "K-means", output="classes", join="touch", has_preview=True, two_pass=KMEANS)
