"""Random changes of patches that leave the truth true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, zoom


def random_placement(
    shape: Sequence[int], rng: np.random.Generator, zoom_factor: float, anisotropy: float = 1.0
) -> np.ndarray:
    """Draw a rotation, a flip and a mild elastic deformation; volumes are turned and deformed in their planes alone.

    Parameters
    ----------
    shape : sequence of int
        ([Z,] Y, X) of the patch; Y and X are the same.
    rng : numpy Generator
    zoom_factor : float
        Pixels of the patch per pixel of the image, in its planes.
    anisotropy : float
        Distance of the image's planes over that of its pixels; the planes of the patch are as near as its pixels.

    Returns
    -------
    float32 array (ndim, [Z,] Y, X)
        For each pixel of the patch, where in the image it comes from, relative to the centre of the patch.
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
    """Draw the placement of a square patch, float32 (2, size_px, size_px), deformed by usually `elastic_px`."""
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

    `strength` is 1 for the usual changes, 0 for none; colours change by the same amount whatever it is.
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
    """Add noise to the pixels of (C, …) channels, everywhere alike or more where it is bright.

    That of a camera's electronics is alike everywhere; that of counted photons grows like the root of their number.
    """
    spread = np.exp(rng.uniform(np.log(0.01), np.log(0.15)))
    noise = rng.normal(0, spread, channels.shape)
    if rng.random() < 0.5:
        noise *= np.sqrt(np.clip(channels, 0.02, 2))
    return (channels + noise).astype(np.float32)


def dim_some_objects(colours: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make about a third of the objects dimmer, down to a tenth, as nuclei in and out of focus or cycle are."""
    numbers = np.unique(labels)
    gain = np.ones(int(numbers.max()) + 1, dtype=np.float32)
    chosen = numbers[(numbers > 1) & (rng.random(len(numbers)) < 0.35)]
    gain[chosen] = np.exp(rng.uniform(np.log(0.1), 0, len(chosen)))
    soft = gaussian_filter(gain[labels], 1.0)
    space = tuple(range(1, colours.ndim))
    background = np.percentile(colours, 5, axis=space, keepdims=True).astype(np.float32)
    return background + (colours - background) * soft
