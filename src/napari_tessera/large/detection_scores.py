"""How likely it is that a detection is an object: judged by its score and its mask, as learnt from known images.

The score of a box says that something is in it, and is given before there is a mask. It says less of objects much
smaller than usual than of others, and less of masks that the network is not sure of.

References
----------
Huang et al. 2019, Mask Scoring R-CNN, doi:10.1109/CVPR.2019.00657, whose network learns how good a mask is; here a
regression on few features does, so that a trained network need not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.large.objects import usual_size
from napari_tessera.large.regression import Regression
from napari_tessera.nn.contrast import MASK_LEVEL, mask_areas

if TYPE_CHECKING:
    from napari_tessera.nn.detections import Detections

FEATURES = ("score", "log area", "log scale", "inside")
"""What is known of a detection: the log odds of its score; the natural logarithms of the area of its mask over the
usual one, and of the network's pixels per pixel of the image; the mean of what the network says within the mask."""
TINY = 1e-4


def lowest_score(header: Mapping[str, Any], faintest: float) -> float:
    """Return the score from which on a network's detections are needed: to be judged, or if not, as they are."""
    return float(header["scoring"]["lowest"]) if header.get("scoring") else faintest


def rescored(found: Detections, header: Mapping[str, Any], scale: float) -> Detections:
    """Give detections the probability of being an object as their score, if the model's header says how.

    Parameters
    ----------
    found : Detections
        In pixels of the image.
    header : mapping
        Of the model file.
    scale : float
        The network's pixels per pixel of the image.

    Returns
    -------
    Detections
        Highest score first.
    """
    if not header.get("scoring") or not header.get("diameter_px"):
        return found
    features = features_of(found, usual_size(header["diameter_px"], 2), scale)
    return found.with_scores(Regression.of(header["scoring"]).probabilities(features))


def features_of(found: Detections, usual_px: float, scale: float) -> np.ndarray:
    """Measure N detections: float64 (N, 4), see `FEATURES`.

    Parameters
    ----------
    found : Detections
        In pixels of the image.
    usual_px : float
        Area of an object of the usual size, in the network's pixels.
    scale : float
        The network's pixels per pixel of the image.
    """
    is_inside = found.masks > MASK_LEVEL
    points = is_inside.sum(dim=(1, 2)).clamp(min=1).double()
    inside = (found.masks * is_inside).sum(dim=(1, 2)) / points
    return np.stack(
        [
            log_odds(found.scores.double().numpy()),
            np.log(np.maximum(mask_areas(found).numpy() * scale**2, 1) / usual_px),
            np.full(len(found.scores), np.log(scale)),
            inside.double().numpy(),
        ],
        axis=1,
    )


def log_odds(likely: np.ndarray | float) -> np.ndarray:
    """Return the log odds of probabilities; those of 0 and 1 are finite.

    Examples
    --------
    >>> log_odds(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [-9.21, 0.0, 9.21]
    """
    return np.log((likely + TINY) / (1 - likely + TINY))
