"""A picture of labels laid over their image."""

from __future__ import annotations

import numpy as np


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
    from skimage.color import label2rgb
    from skimage.segmentation import find_boundaries

    picture = label2rgb(labels, _as_colour(image), alpha=opacity, bg_label=0, bg_color=None, saturation=1)
    edge = find_boundaries(labels, mode="inner")
    picture[edge] = label2rgb(labels, bg_label=0)[edge]
    return np.rint(picture * 255).astype(np.uint8)


def _as_colour(image: np.ndarray) -> np.ndarray:
    """Return (Y, X, 3) float32 from 0 to 1."""
    if image.ndim == 3 and image.dtype == np.uint8:
        return image[..., :3].astype(np.float32) / 255
    grey = image.astype(np.float32)
    low, high = np.percentile(grey, (0.5, 99.5))
    stretched = np.clip((grey - low) / max(high - low, 1e-9), 0, 1)
    return stretched if image.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)
