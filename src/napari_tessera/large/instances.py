"""From an image to numbered objects with an instance network: find the scale, predict, number."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.large.objects import Decoding, find_objects
from napari_tessera.nn.forward import predict_scores, to_image_grid
from napari_tessera.nn.intensity import measure_levels, network_channels
from napari_tessera.nn.scores import PixelScores
from napari_tessera.nn.unet import UNet, fold_normalisation
from napari_tessera.nn.weights import load_unet

LOOKS = 3
"""How often the scale is looked at again before it is taken as found."""
SAME_SCALE = 0.1
"""Change of the logarithm of the scale below which another look is not worth its time."""
SMALLEST_FACTOR, LARGEST_FACTOR = 0.1, 4.0
MOST_PIXELS = 10e6
"""Largest image, in network pixels, to which small objects are magnified; beyond, they are magnified less."""


@dataclass(frozen=True)
class InstanceModel:
    """A network ready to find objects.

    Parameters
    ----------
    net : UNet
        Folded for inference.
    diameter_px : float
        Usual diameter of an object at which the network works.
    decoding : Decoding
    """

    net: UNet
    diameter_px: float
    decoding: Decoding = field(default_factory=Decoding)


def load_instances(path: str | Path) -> InstanceModel:
    """Load a model file for inference."""
    net, header = load_unet(path)
    return instance_model(net, header)


def instance_model(net: UNet, header: dict[str, Any]) -> InstanceModel:
    """Make a trained network ready for inference, as its header says."""
    return InstanceModel(fold_normalisation(net), header["diameter_px"], Decoding(**header.get("decoding", {})))


def segment_instances(
    model: InstanceModel, image: np.ndarray, diameter_px: float | None = None, flips: bool = False
) -> np.ndarray:
    """Find and number the objects of an image.

    Parameters
    ----------
    model : InstanceModel
    image : array (Y, X) or (Y, X, 3)
    diameter_px : float, optional
        Usual diameter of an object in this image; estimated if not given.
    flips : bool
        Average over the four mirror images: four times slower, a little better.

    Returns
    -------
    int32 array (Y, X)
        0 background, 1… objects.
    """
    channels = network_channels(image, measure_levels(image))
    scores, _ = look(model, channels, diameter_px, flips)
    labels = find_objects(scores, model.diameter_px, model.decoding)
    return to_image_grid(labels, scores, (image.shape[0], image.shape[1]), model.decoding.object_level)


def look(
    model: InstanceModel, channels: np.ndarray, diameter_px: float | None = None, flips: bool = False
) -> tuple[PixelScores, float]:
    """Predict at the scale at which the objects have the size that the network knows.

    Returns
    -------
    PixelScores
        On the network's grid.
    float
        Network pixels per image pixel.
    """
    factor = 1.0 if diameter_px is None else bounded(model.diameter_px / diameter_px, channels)
    scores = predict_scores(model.net, channels, factor)
    for _ in range(LOOKS - 1 if diameter_px is None else 0):
        seen = seen_diameter(scores, model.diameter_px)
        better = factor if seen is None else bounded(factor * model.diameter_px / seen, channels)
        if abs(np.log(better / factor)) < SAME_SCALE:
            break
        factor = better
        scores = predict_scores(model.net, channels, factor)
    if flips:
        scores = predict_scores(model.net, channels, factor, flips=True)
    return scores, factor


def seen_diameter(scores: PixelScores, diameter_px: float) -> float | None:
    """Return the usual diameter that the object pixels speak of, in network pixels; None with hardly any."""
    sizes = scores.size[scores.object > 0.5]
    return float(diameter_px * np.exp(np.median(sizes))) if sizes.size >= 20 else None


def bounded(factor: float, channels: np.ndarray) -> float:
    """Keep the scale where the network's image is neither tiny nor huge."""
    most = max(1.0, np.sqrt(MOST_PIXELS / channels[0].size))
    return float(np.clip(factor, SMALLEST_FACTOR, min(LARGEST_FACTOR, most)))
