"""What k-means compares: points made from channels, colour and position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from napari_tessera.methods.cielab import to_cielab
from napari_tessera.methods.grey import RGB_TO_LUMINANCE
from napari_tessera.value_range import Number, Scale, scale_of, scaled

BITS_PER_FEATURE = 10


@dataclass(frozen=True)
class Place:
    """Where values lie: points count from there, so that neither an offset nor a unit changes what is alike.

    Attributes
    ----------
    origins : tuple of number
        Value of each channel that is 0.
    unit : float
        Intensity that is 1, for all channels.
    """

    origins: tuple[Number, ...]
    unit: float

    def points(self, values: np.ndarray) -> np.ndarray:
        """Turn (N, C) values into points, float64."""
        wide = values.astype(np.float64) if values.dtype.kind == "f" else values
        columns = [scaled(wide[:, at], Scale(origin, self.unit)) for at, origin in enumerate(self.origins)]
        return np.stack(columns, axis=1)


def feature_points(
    values: np.ndarray,
    positions: np.ndarray | None,
    place: Place,
    *,
    features: str,
    position_weight: float,
    spacing: Sequence[float] | None,
    **_: Any,
) -> np.ndarray:
    """Turn pixels into points whose distances say how unlike they are.

    Parameters
    ----------
    values : (N, C) array
    positions : (N, D) array or None
        z, y, x or y, x in pixels; None where position does not matter.
    place : Place
        Where the values lie.
    features : str
        "cielab" takes the values as sRGB.
    position_weight : float
        Intensity per pixel along X.
    spacing : sequence of float or None

    Returns
    -------
    (N, C) or (N, C + D) float64 array
    """
    points = to_cielab(values) if features == "cielab" else place.points(values)
    if positions is None or position_weight == 0:
        return points
    steps = np.array(spacing) / spacing[-1] if spacing else np.ones(positions.shape[1])
    return np.concatenate([points, positions * (steps * (position_weight / place.unit))], axis=1)


def place_of(values: np.ndarray, features: str) -> Place:
    """Return the lowest value of each channel and the widest channel's range; of colours 0 and 1."""
    if features == "cielab":
        return Place((0,) * values.shape[1], 1.0)
    ends = [(channel.min().item(), channel.max().item()) for channel in values.T]
    widest = max(ends, key=lambda each: Fraction(each[1]) - Fraction(each[0]))
    return Place(tuple(low for low, _ in ends), scale_of(*widest).unit)


def positions_in(shape: tuple[int, ...], start: tuple[int, ...]) -> np.ndarray:
    """Position of each pixel of a block in the whole image, (N, D) float64."""
    axes = [np.arange(first, first + length, dtype=np.float64) for first, length in zip(start, shape, strict=True)]
    return np.stack([grid.reshape(-1) for grid in np.meshgrid(*axes, indexing="ij")], axis=1)


def neighbour_order(points: np.ndarray) -> np.ndarray:
    """Order points so that neighbours are alike: by their bits, taken from each feature in turn (Morton order)."""
    low = points.min(axis=0)
    extent = np.maximum(points.max(axis=0) - low, np.finfo(np.float64).tiny)
    steps = ((points - low) / extent * (2**BITS_PER_FEATURE - 1)).astype(np.uint64)
    features = min(points.shape[1], 64 // BITS_PER_FEATURE)
    key = np.zeros(len(points), np.uint64)
    for bit in range(BITS_PER_FEATURE):
        for feature in range(features):
            key |= ((steps[:, feature] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(bit * features + feature)
    return np.argsort(key, kind="stable")


def brightness(centres: np.ndarray, channels: int, features: str) -> np.ndarray:
    """Lightness, luminance of three or four channels, or mean of the channels of each centre."""
    if features == "cielab":
        return centres[:, 0]
    return centres[:, :3] @ RGB_TO_LUMINANCE if channels in (3, 4) else centres[:, :channels].mean(axis=1)
