"""How noisy the pixels of an image are, and which detections are no more than noise.

Where there is nothing, levels are those of the noise, and a network that magnifies it sees objects. The noise of the
pixels of an object cancels out but for what grows like the root of their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.large.view import View
from napari_tessera.nn.contrast import COLOURS, mask_areas

if TYPE_CHECKING:
    from napari_tessera.nn.detections import Detections

BANDS, BAND_PX = 16, 8
"""What is looked at: so many bands of so many rows, spread over the plane."""
MEDIAN_OF_DIFFERENCES = 0.954
"""Median of the distance of two normally distributed values, over their standard deviation."""
LEAST = 20.0
"""Contrast of an object over the noise of its mean brightness. Of the nuclei of BBBC038 that the shipped network finds,
one in a thousand has less than 31; of what it sees in magnified noise, nothing has more than 11."""


def noise_of(view: View) -> float:
    """Return the standard deviation of the noise of a plane's pixels, as a share of the way from black to white.

    It is measured by neighbours along X, most of which lie in the same object or on the same ground.
    """
    height, _ = view.shape
    starts = np.unique(np.linspace(0, max(0, height - BAND_PX), BANDS).astype(int))
    bands = [view.read((slice(start, start + BAND_PX), slice(None)))[:COLOURS].mean(0) for start in starts.tolist()]
    differences = np.abs(np.diff(np.concatenate(bands), axis=-1))
    return float(np.median(differences)) / MEDIAN_OF_DIFFERENCES if differences.size else 0.0


def without_noise(found: Detections, noise: float) -> Detections:
    """Leave out the detections, in pixels of the image, whose contrast is no more than its noise may have.

    What is much darker than the ground is kept: there, the ground is bright objects all around.
    """
    if found.contrast is None:
        return found
    is_seen = found.contrast.double().abs() * mask_areas(found).sqrt() >= LEAST * noise
    return found if bool(is_seen.all()) else found.chosen(is_seen.nonzero()[:, 0])
