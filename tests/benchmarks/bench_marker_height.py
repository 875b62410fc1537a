"""How far watershed from given markers agrees with scikit-image's, by where the markers lie.

`python tests/benchmarks/bench_marker_height.py` prints, over ten smooth random landscapes of 256 × 256 pixels, the
share of pixels that both give to the same marker.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed as reference

import napari_tessera as tessera

SIDE = 256
LANDSCAPES = 10


def landscape(rng: np.random.Generator) -> np.ndarray:
    """Hills and valleys about twenty pixels wide, uint16."""
    heights = ndimage.gaussian_filter(rng.random((SIDE, SIDE)), 6)
    return (60_000 * (heights - heights.min()) / np.ptp(heights)).astype(np.uint16)


def tops(heights: np.ndarray) -> np.ndarray:
    """Return the (N, 2) places that are the highest within 10 pixels."""
    return np.argwhere(heights == ndimage.maximum_filter(heights, 21))


def agreement(heights: np.ndarray, points: np.ndarray) -> float:
    """Return the share of pixels that go to the same marker; hills are objects."""
    markers = np.zeros(heights.shape, np.int32)
    markers[tuple(points.T)] = np.arange(1, len(points) + 1)
    options = {"foreground": "whole", "landscape": "intensity", "sigma": 0, "min_size": 0, "max_hole_size": 0}
    ours = tessera.watershed(heights, markers, **options)
    numbers = np.zeros(ours.max() + 1, np.int32)
    numbers[ours[tuple(points.T)]] = np.arange(1, len(points) + 1)  # ours are numbered in raster order
    return float((numbers[ours] == reference(-heights.astype(int), markers)).mean())


def main() -> None:
    """Print one line for each place of the markers."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"on the tops of the hills": [], "anywhere": []}
    for _ in range(LANDSCAPES):
        heights = landscape(rng)
        points = tops(heights)
        found["on the tops of the hills"].append(agreement(heights, points))
        found["anywhere"].append(agreement(heights, np.unique(rng.integers(0, SIDE, points.shape), axis=0)))
    for place, shares in found.items():
        print(f"markers {place:26}{np.mean(shares):.1%} of the pixels, {min(shares):.1%} at worst")


if __name__ == "__main__":
    main()
