"""A U-Net that gives a Mask R-CNN a second opinion on its detections."""

import math

from napari_tessera.inference import rescore_detections
from napari_tessera.inference.rescore_detections import FEATURES
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import N_FEATURES
from tests.helpers.tiny_models import save_bright

ALL = (*FEATURES, *rescore_detections.UNET_FEATURES)

USUAL_PX = 20


def regression_on(names, feature, weight, constant=0.0):
    """Judge by one feature alone."""
    count = len(names)
    weights = [constant] + [weight * (name == feature) for name in names] + [0.0] * (count * (count + 1) // 2)
    return {"centre": [0.0] * count, "spread": [1.0] * count, "weights": weights}


def save_second(folder):
    """Save a U-Net that calls objects what is bright, and says of each that it is one with certainty of 3 to 1."""
    limits = {"least": 0.1, "least_of_small": 0.1, "small_share": 0.2}
    scoring = limits | regression_on(["any"] * N_FEATURES["unet"], None, 0.0, constant=math.log(3))
    return save_bright(folder / "second.safetensors", size=0.0, diameter_px=USUAL_PX, scoring=scoring)


def second_of(path, **others):
    entry = catalogue.find(path)
    said = {"model": str(path), "sha256": entry.sha256()}
    return said | regression_on(ALL, "overlap", 8.0, constant=-4.0) | others
