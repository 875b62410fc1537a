"""Draw training patches from images and their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_tessera.nn.intensity import Levels, from_colours, measure_levels, network_channels
from napari_tessera.train.augment import dim_some_objects, random_intensity, random_placement
from napari_tessera.train.targets import BACKGROUND, NOT_PAINTED, Targets, instance_targets

NEAR_AN_OBJECT = 0.7
"""Share of the patches that are drawn around an object, small and large ones alike; the rest lie anywhere."""
MARGIN_PX = 20
"""Seen around a patch when its targets are made, so that objects cut by its edge keep their heart and centre."""


@dataclass(frozen=True)
class Example:
    """One image to learn from.

    Parameters
    ----------
    image : array (Y, X) or (Y, X, 3)
    labels : int32 array (Y, X)
        0 not painted, 1 background, 2… objects.
    group : str
        Images of a kind; see `Sampling`.
    """

    image: np.ndarray
    labels: np.ndarray
    group: str = ""
    name: str = ""
    levels: Levels = field(init=False)
    areas: np.ndarray = field(init=False)
    hearts: np.ndarray = field(init=False)
    diameter_px: float | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", measure_levels(self.image))
        object.__setattr__(self, "areas", np.bincount(self.labels.ravel()))
        object.__setattr__(self, "hearts", centres(self.labels))
        object.__setattr__(self, "diameter_px", usual_diameter(np.where(self.labels > BACKGROUND, self.labels, 0)))


@dataclass(frozen=True)
class Sampling:
    """How patches are drawn.

    Parameters
    ----------
    size_px : int
        Side of a patch.
    diameter_px : float
        Usual diameter of an object after rescaling.
    size_spread : float
        Standard deviation of the natural logarithm of the random rescaling.
    native_share : float
        Share of the patches rescaled much more freely, for the first look at an image of unknown size.
    dim_share : float
        Share of the patches of bright objects in which some are made dimmer.
    """

    size_px: int = 160
    diameter_px: float = 32.0
    size_spread: float = 0.22
    native_share: float = 0.25
    native_spread: float = 0.65
    dim_share: float = 0.25


def usual_diameter(labels: np.ndarray) -> float | None:
    """Return the diameter of a disc of the area above which half of the labelled area lies; None with no object."""
    areas = np.sort(np.bincount(labels.ravel())[1:])
    areas = areas[areas > 0]
    if areas.size == 0:
        return None
    share = np.cumsum(areas) / areas.sum()
    return float(2 * np.sqrt(areas[np.searchsorted(share, 0.5)] / np.pi))


def centres(labels: np.ndarray) -> np.ndarray:
    """Return the centre of mass of each object: float64 (objects, 2), in pixels."""
    places = np.nonzero(labels > BACKGROUND)
    numbers = labels[places]
    count = np.bincount(numbers)
    sums = [np.bincount(numbers, weights=along) for along in places]
    return np.stack(sums, 1)[count > 0] / count[count > 0, None]


def image_weights(examples: Sequence[Example]) -> np.ndarray:
    """Return each image's chance to be drawn: a group has a share like the square root of its number of images.

    Images drawn evenly would leave rare kinds out; groups drawn evenly would repeat their few images too often.
    """
    groups = Counter(example.group for example in examples)
    weights = np.array([groups[example.group] ** -0.5 for example in examples])
    return weights / weights.sum()


def draw_batch(
    examples: Sequence[Example], weights: np.ndarray, sampling: Sampling, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[Targets]]:
    """Draw `count` patches: float32 (count, CHANNELS, Y, X), and the targets of each."""
    chosen = rng.choice(len(examples), count, p=weights)
    patches = [draw_patch(examples[index], sampling, rng) for index in chosen]
    return np.stack([channels for channels, _ in patches]), [targets for _, targets in patches]


def draw_patch(example: Example, sampling: Sampling, rng: np.random.Generator) -> tuple[np.ndarray, Targets]:
    """Cut one patch from an image, rescaled, turned, and changed in brightness."""
    size = sampling.size_px + 2 * MARGIN_PX
    is_free = rng.random() < sampling.native_share
    spread = sampling.native_spread if is_free else sampling.size_spread
    factor = sampling.diameter_px / (example.diameter_px or sampling.diameter_px) * np.exp(rng.normal(0, spread))
    places = random_placement(size, rng, factor)
    places += draw_centre(example, sampling.size_px / factor, rng)[:, None, None]
    labels = sample_labels(example.labels, places)
    colours = sample_colours(example, places, factor)
    if not example.levels.inverted and rng.random() < sampling.dim_share:
        colours = dim_some_objects(colours, labels, rng)
    colours = random_intensity(colours, rng, is_coloured=example.image.ndim == 3)
    inner = slice(MARGIN_PX, -MARGIN_PX)
    targets = instance_targets(labels, sampling.diameter_px, example.areas * factor**2)
    cut = Targets(*(getattr(targets, each.name)[..., inner, inner] for each in fields(targets)))
    return from_colours(colours[:, inner, inner], example.levels.inverted), cut


def draw_centre(example: Example, side_px: float, rng: np.random.Generator) -> np.ndarray:
    """Draw where the patch lies: usually near an object, and inside the image as far as it fits."""
    shape = np.array(example.labels.shape)
    centre = rng.uniform(0, shape)
    if len(example.hearts) and rng.random() < NEAR_AN_OBJECT:
        centre = rng.choice(example.hearts) + rng.uniform(-0.4, 0.4, 2) * side_px
    margin = np.minimum(side_px / 2, shape / 2)
    return np.clip(centre, margin, shape - margin).astype(np.float32)


def sample_labels(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Take the nearest label; outside the image nothing is painted."""
    at = np.rint(places).astype(np.int64)
    inside = np.all((at >= 0) & (at < np.array(labels.shape)[:, None, None]), axis=0)
    at = np.where(inside, at, 0)
    return np.where(inside, labels[at[0], at[1]], NOT_PAINTED)


def sample_colours(example: Example, places: np.ndarray, factor: float) -> np.ndarray:
    """Interpolate the normalised colours (3, Y, X) at `places`, averaging first where the patch is much coarser."""
    low = np.maximum(np.floor(places.min((1, 2))).astype(int) - 4, 0)
    high = np.minimum(np.ceil(places.max((1, 2))).astype(int) + 5, example.labels.shape)
    high = np.maximum(high, low + 1)
    window = network_channels(example.image[low[0] : high[0], low[1] : high[1]], example.levels)
    colours = window[:1] if example.image.ndim == 2 else window[:3]
    if factor < 0.7:
        colours = gaussian_filter(colours, (0, *[0.4 / factor] * 2))
    moved = places - low[:, None, None].astype(np.float32)
    sampled = np.stack([map_coordinates(colour, moved, order=1, mode="mirror") for colour in colours])
    return np.repeat(sampled, 3, axis=0) if len(sampled) == 1 else sampled
