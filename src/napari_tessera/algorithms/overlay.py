"""A picture of labels laid over their image."""

from __future__ import annotations

import colorsys

import numpy as np

GOLDEN_RATIO = 0.6180339887498949


def draw_overlay(image: np.ndarray, labels: np.ndarray, *, opacity: float = 0.35) -> np.ndarray:
    """Tint each object in its own colour and draw its outline.

    Parameters
    ----------
    image : (Y, X) or (Y, X, 3) array
        Grey images are stretched from their 0.5th to their 99.5th percentile.
    labels : (Y, X) array of int
        0 is background and stays as it is.
    opacity : float
        How strongly objects are tinted, 0 to 1; outlines are always opaque.

    Returns
    -------
    (Y, X, 3) array of uint8

    Examples
    --------
    >>> import numpy as np
    >>> draw_overlay(np.eye(4), np.array([[1, 1, 0, 0]] * 4)).shape
    (4, 4, 3)
    """
    picture = _as_colour(image)
    tint = colours(int(labels.max(initial=0)))[labels]
    inside = (labels > 0)[..., None]
    picture = np.where(inside, (1 - opacity) * picture + opacity * tint, picture)
    picture = np.where(outlines(labels)[..., None], tint, picture)
    return np.rint(picture * 255).astype(np.uint8)


def colours(count: int) -> np.ndarray:
    """Return (count + 1, 3) colours, 0 to 1, in which neighbouring numbers look different; the first is black."""
    hues = (np.arange(count) * GOLDEN_RATIO) % 1
    table = [(0.0, 0.0, 0.0), *(colorsys.hsv_to_rgb(hue, 0.75, 1.0) for hue in hues)]
    return np.asarray(table, np.float32)


def outlines(labels: np.ndarray) -> np.ndarray:
    """Return which pixels of objects have another label beside them: (Y, X) bool."""
    edge = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        here = [slice(None)] * labels.ndim
        there = list(here)
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        differs = labels[tuple(here)] != labels[tuple(there)]
        edge[tuple(here)] |= differs
        edge[tuple(there)] |= differs
    return edge & (labels > 0)


def _as_colour(image: np.ndarray) -> np.ndarray:
    """Return (Y, X, 3) float32 from 0 to 1."""
    if image.ndim == 3 and image.dtype == np.uint8:
        return image[..., :3].astype(np.float32) / 255
    grey = image.astype(np.float32)
    low, high = np.percentile(grey, (0.5, 99.5))
    stretched = np.clip((grey - low) / max(high - low, 1e-9), 0, 1)
    return stretched if image.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)
