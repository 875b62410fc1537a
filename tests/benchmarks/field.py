"""A large image with many touching blobs, the same for every benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

MARGIN_PX = 30


def blob_field(side: int = 4096, blobs: int = 6000, seed: int = 0) -> np.ndarray:
    """Draw blurred discs of 10 to 26 px radius, many of them touching, with noise.

    Parameters
    ----------
    side : int
        Height and width.
    blobs : int
        How many there are on 4096×4096; other sizes get as many per area.
    seed : int

    Returns
    -------
    (side, side) array of uint16
    """
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side), np.float32)
    for (y, x), radius, peak in _scattered(rng, side, round(blobs * (side / 4096) ** 2)):
        window = tuple(slice(int(centre) - MARGIN_PX, int(centre) + MARGIN_PX) for centre in (y, x))
        rows, columns = np.ogrid[window]
        is_inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image[window] = np.maximum(image[window], peak * is_inside)
    image = ndimage.gaussian_filter(image, 1.5) + rng.normal(0.1, 0.03, image.shape).astype(np.float32)
    return (image.clip(0, 1.3) * 20000).astype(np.uint16)


def _scattered(rng: np.random.Generator, side: int, count: int) -> Iterator[tuple[np.ndarray, float, float]]:
    """Place discs at random, (centre, radius, brightness) each; they may overlap by a quarter of their radii."""
    centres, radii = np.empty((count, 2)), np.empty(count)
    placed = 0
    while placed < count:
        centre, radius = rng.uniform(MARGIN_PX, side - MARGIN_PX, 2), rng.uniform(10, 26)
        away = np.hypot(*(centres[:placed] - centre).T)
        if (away > 0.75 * (radii[:placed] + radius)).all():
            centres[placed], radii[placed] = centre, radius
            placed += 1
            yield centre, radius, rng.uniform(0.6, 1)
