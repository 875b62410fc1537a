"""Sample and augment training patches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from napari_tessera.inference.normalization import clipped, from_colours, network_channels
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED, Example


def random_placement(
    shape: Sequence[int], rng: np.random.Generator, zoom_factor: float, anisotropy: float = 1.0
) -> np.ndarray:
    """Sample a rotation, a flip and a mild elastic deformation; volumes are changed only within their planes.

    Parameters
    ----------
    shape : sequence of int
        ([Z,] Y, X) of the patch, which is isotropic; Y and X are equal.
    zoom_factor : float
        Pixels of the patch per pixel of the image, in its planes.
    anisotropy : float
        Distance of the image's planes divided by its pixel size.

    Returns
    -------
    float32 array (ndim, [Z,] Y, X)
        For each pixel of the patch, its position in the image, relative to the centre of the patch.
    """
    plane = plane_placement(shape[-1], rng, zoom_factor)
    if len(shape) == 2:
        return plane
    stretch = np.exp(rng.normal(0, 0.08)) * rng.choice([-1, 1])
    depth = (np.arange(shape[0], dtype=np.float32) - (shape[0] - 1) / 2) * np.float32(
        stretch / zoom_factor / anisotropy
    )
    planes = np.broadcast_to(plane[:, None], (2, *shape))
    return np.concatenate([np.broadcast_to(depth[None, :, None, None], (1, *shape)), planes]).astype(np.float32)


def plane_placement(size_px: int, rng: np.random.Generator, zoom_factor: float, elastic_px: float = 2.0) -> np.ndarray:
    """Sample the placement of a square patch, float32 (2, size_px, size_px), deformed by about `elastic_px`."""
    angle = rng.integers(4) * np.pi / 2 + (rng.uniform(-np.pi / 4, np.pi / 4) if rng.random() < 0.3 else 0)
    stretch = np.exp(rng.normal(0, 0.08, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag(stretch * rng.choice([-1, 1], 2)) / zoom_factor
    steps = np.indices((size_px, size_px), dtype=np.float32) - (size_px - 1) / 2
    if rng.random() < 0.3:
        coarse = rng.normal(0, elastic_px, (2, size_px // 32 + 2, size_px // 32 + 2)).astype(np.float32)
        factor = (1, size_px / coarse.shape[1], size_px / coarse.shape[2])
        steps = steps + zoom(coarse, factor, order=1)[:, :size_px, :size_px]
    return np.tensordot(matrix.astype(np.float32), steps, 1)


def random_intensity(
    colours: np.ndarray, rng: np.random.Generator, strength: float, is_coloured: bool, may_lose_colour: bool = True
) -> np.ndarray:
    """Change gain, offset, gamma, colour, sharpness and noise of (C, [Z,] Y, X) channels with background near 0.

    `strength` is 1 for the default changes, 0 for no change; it does not affect the change of colour.
    """
    space = colours.ndim - 1
    colours = colours * np.float32(np.exp(rng.normal(0, 0.25 * strength))) + np.float32(rng.normal(0, 0.04 * strength))
    if rng.random() < 0.5:
        gamma = np.float32(np.exp(rng.normal(0, 0.3 * strength)))
        colours = np.sign(colours) * np.abs(colours) ** gamma
    if is_coloured:
        each = (len(colours), *(1,) * space)
        colours = colours * np.exp(rng.normal(0, 0.12, each)).astype(np.float32)
        colours = colours + rng.normal(0, 0.05, each).astype(np.float32)
        if may_lose_colour and rng.random() < 0.1:
            colours = np.broadcast_to(colours.mean(0, keepdims=True), colours.shape)
    if rng.random() < 0.15 * strength:
        colours = gaussian_filter(colours, (0, *[rng.uniform(0.4, 1.2)] * space))
    if rng.random() < 0.3 * strength:
        noise = rng.normal(0, rng.uniform(0.005, 0.06), colours.shape).astype(np.float32)
        colours = colours + (noise if is_coloured else noise[:1])
    return np.asarray(colours, dtype=np.float32)


def random_noise(channels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise to the pixels of (C, …) channels: uniform, or stronger in bright pixels.

    A camera's electronic noise is uniform; photon noise grows with the square root of the number of photons.
    """
    spread = np.exp(rng.uniform(np.log(0.01), np.log(0.15)))
    noise = rng.normal(0, spread, channels.shape)
    if rng.random() < 0.5:
        noise *= np.sqrt(np.clip(channels, 0.02, 2))
    return (channels + noise).astype(np.float32)


def dim_some_objects(colours: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make about a third of the objects dimmer, down to a tenth, like nuclei out of focus or in another phase."""
    numbers = np.unique(labels)
    gain = np.ones(int(numbers.max()) + 1, dtype=np.float32)
    chosen = numbers[(numbers > 1) & (rng.random(len(numbers)) < 0.35)]
    gain[chosen] = np.exp(rng.uniform(np.log(0.1), 0, len(chosen)))
    soft = gaussian_filter(gain[labels], 1.0)
    space = tuple(range(1, colours.ndim))
    background = np.percentile(colours, 5, axis=space, keepdims=True).astype(np.float32)
    return background + (colours - background) * soft


NEAR_A_PLACE = 0.7
"""Share of the patches that are sampled around an object of any size; the others lie anywhere."""
COARSER = 0.7
"""If a patch has fewer pixels per image pixel, the image is smoothed before sampling."""

MakeTargets = Callable[[np.ndarray, Example, float, tuple[slice, ...]], Any]
"""Makes targets from (labels of a patch with margin, example, patch pixels per image pixel, slices of the patch)."""


@dataclass(frozen=True)
class Sampling:
    """How patches are sampled."""

    size_px: int = 160  # side of a patch
    diameter_px: float | None = 32.0  # usual diameter of an object after rescaling; None keeps the scale of the images
    depth_px: int = 0  # planes of a patch; 0 for patches in 2-D
    size_spread: float = 0.22  # standard deviation of the natural logarithm of the random rescaling
    native_share: float = 0.25
    """Share of the patches with a much wider rescaling, for the first prediction of an image of unknown size."""
    native_spread: float = 0.65  # standard deviation of the natural logarithm of that rescaling
    dim_share: float = 0.25  # share of the patches of bright objects in which some are made dimmer
    intensity_changes: float = 1.0  # see `random_intensity`
    noise_share: float = 0.0  # share of the patches whose image gets noise in its own pixels; see `random_noise`
    inverted_share: float = 0.0  # share of the patches of bright objects that are processed as if the objects were dark
    is_dark_outside: bool = False
    """Outside the image, a patch is dark, and background, as at the border of images in use. Otherwise the image is
    mirrored, and the pixels outside are not annotated."""
    needs_margin: bool = True
    """Targets need the surroundings of a patch, to keep the seed and centre of objects cut by its edge."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a patch."""
        plane = (self.size_px, self.size_px)
        return (self.depth_px, *plane) if self.depth_px else plane

    @property
    def margin(self) -> tuple[int, ...]:
        """Margin around a patch, for its targets."""
        if not self.needs_margin:
            return (0,) * len(self.shape)
        return (8, 8, 8) if self.depth_px else (20, 20)


def image_weights(examples: Sequence[Example]) -> np.ndarray:
    """Return each image's probability: a group has a share proportional to the square root of its number of images.

    With equal probability of images, rare kinds would be missing; with equal probability of groups, their few images
    would be repeated too often. Windows of one image are weighted by their number of places.
    """
    groups = Counter(example.group for example in examples)
    weights = np.array(
        [len(example.places) if example.is_window else groups[example.group] ** -0.5 for example in examples]
    )
    return weights / weights.sum()


def draw_batch(
    examples: Sequence[Example],
    weights: np.ndarray,
    sampling: Sampling,
    make_targets: MakeTargets,
    count: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[Any]]:
    """Sample `count` patches: float32 (count, channels, [Z,] Y, X), and the targets of each."""
    chosen = rng.choice(len(examples), count, p=weights)
    patches = [draw_patch(examples[index], sampling, make_targets, rng) for index in chosen]
    return np.stack([channels for channels, _ in patches]), [targets for _, targets in patches]


def draw_patch(
    example: Example, sampling: Sampling, make_targets: MakeTargets, rng: np.random.Generator
) -> tuple[np.ndarray, Any]:
    """Sample one patch of an image, rescaled, rotated, and with changed intensity: its channels and its targets."""
    whole = tuple(side + 2 * margin for side, margin in zip(sampling.shape, sampling.margin, strict=True))
    inner = tuple(slice(margin, margin + side) for margin, side in zip(sampling.margin, sampling.shape, strict=True))
    factor = draw_factor(example, sampling, rng)
    factors = np.array((factor * example.anisotropy, factor, factor)[-len(whole) :])
    places = random_placement(whole, rng, factor, example.anisotropy)
    centre = draw_centre(example, np.array(sampling.shape) / factors, rng)
    places += centre.reshape(-1, *(1,) * len(whole))
    is_ending = sampling.is_dark_outside and not example.is_window
    is_outside = beyond(example.labels.shape, places) if is_ending else None
    labels = sample_labels(example.labels, places, NOT_PAINTED if is_outside is None else BACKGROUND)
    is_noisy = sampling.noise_share > 0 and rng.random() < sampling.noise_share
    colours = sample_channels(example, places, factors, partial(random_noise, rng=rng) if is_noisy else None)
    is_turned, has_own_channels = example.levels.inverted, example.levels.kind == "channels"
    if not is_turned and rng.random() < sampling.dim_share:
        colours = dim_some_objects(colours, labels, rng)
    colours = random_intensity(
        colours, rng, sampling.intensity_changes, example.is_coloured, may_lose_colour=not has_own_channels
    )
    targets = make_targets(labels, example, factor, inner)
    is_inverted = sampling.inverted_share > 0 and not is_turned and rng.random() < sampling.inverted_share
    channels = finished(colours[(slice(None), *inner)], example, is_turned or is_inverted)
    return channels if is_outside is None else np.where(is_outside[inner], np.float32(0), channels), targets


def finished(colours: np.ndarray, example: Example, is_turned: bool) -> np.ndarray:
    """Convert the three colours, or the channels, of an image to network input."""
    return clipped(colours) if example.levels.kind == "channels" else from_colours(colours, is_turned)


def draw_factor(example: Example, sampling: Sampling, rng: np.random.Generator) -> float:
    """Sample the number of patch pixels per image pixel."""
    is_free = rng.random() < sampling.native_share
    spread = sampling.native_spread if is_free else sampling.size_spread
    wanted = sampling.diameter_px
    usual = 1.0 if wanted is None else wanted / (example.diameter_px or wanted)
    return usual * np.exp(rng.normal(0, spread))


def draw_centre(example: Example, sides_px: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample the position of a patch: usually near an object, and inside the image if it fits.

    In a window around annotation, all patches are near a place: elsewhere there is nothing to learn.
    """
    shape = np.array(example.labels.shape)
    centre = rng.uniform(0, shape)
    if len(example.places) and (rng.random() < NEAR_A_PLACE or example.is_window):
        centre = rng.choice(example.places) + rng.uniform(-0.4, 0.4, len(shape)) * sides_px
    margin = np.minimum(sides_px / 2, shape / 2)
    return np.clip(centre, margin, shape - margin).astype(np.float32)


def beyond(shape: Sequence[int], places: np.ndarray) -> np.ndarray:
    """Return which places (ndim, [Z,] Y, X) are outside an image of `shape`: ([Z,] Y, X)."""
    at = np.rint(places)
    return np.any((at < 0) | (at >= np.reshape(shape, (-1, *(1,) * len(shape)))), axis=0)


def sample_labels(labels: np.ndarray, places: np.ndarray, outside: int = NOT_PAINTED) -> np.ndarray:
    """Sample the nearest label; outside the image it is not annotated."""
    is_outside = beyond(labels.shape, places)
    at = np.where(is_outside, 0, np.rint(places).astype(np.int64))
    return np.where(is_outside, outside, labels[tuple(at)])


def sample_channels(
    example: Example, places: np.ndarray, factors: np.ndarray, change: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Interpolate the normalised channels (C, [Z,] Y, X) at `places`, averaged first if the patch is much coarser.

    The image has three colours (also a grey one), or its channels. `change` is applied to its pixels first.
    """
    space = tuple(range(1, places.ndim))
    shape = np.array(example.labels.shape)
    low = np.clip(np.floor(places.min(space)).astype(int) - 4, 0, shape - 1)
    high = np.clip(np.ceil(places.max(space)).astype(int) + 5, low + 1, shape)
    window = example.image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    channels = network_channels(window, example.levels, is_coloured=example.is_coloured)
    if example.levels.kind == "colours":
        channels = channels[:3] if example.is_coloured else channels[:1]
    if change is not None:
        channels = change(channels)
    if (factors < COARSER).any():
        channels = gaussian_filter(channels, (0, *np.where(factors < COARSER, 0.4 / factors, 0)))
    moved = places - low.reshape(-1, *(1,) * len(space)).astype(np.float32)
    sampled = np.stack([map_coordinates(channel, moved, order=1, mode="mirror") for channel in channels])
    return np.repeat(sampled, 3, axis=0) if example.levels.kind == "colours" and len(sampled) == 1 else sampled
