"""Learn which objects of a U-Net are none: python fit_scoring.py --data FOLDER --model PATH [--card PATH] [-o PATH].

FOLDER holds nuclei/ (see docs/data.md). The model segments the images of its split `train`, and keeps all it finds; a
logistic regression learns which of these objects match a nucleus at IoU 0.5, and is written into the header of the
model. The weights of the network stay as they are. Needs scikit-learn, which the extra `test` brings.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from imageio.v3 import imread
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from napari_tessera.jobs import drive
from napari_tessera.kernels.resampling import outlined
from napari_tessera.large.instances import decoding_of, pixel_scores
from napari_tessera.large.object_scores import FARTHEST, measured, products
from napari_tessera.large.objects import find_objects, usual_size
from napari_tessera.large.seeing import Looking, see
from napari_tessera.large.view import View
from napari_tessera.nn.forward import load_network
from napari_tessera.nn.intensity import measure_levels
from napari_tessera.nn.weights import read_tensors, write_tensors
from napari_tessera.overlaps import find_overlaps

IOU = 0.5
LEAST, LEAST_OF_SMALL, SMALL_SHARE = 0.1, 0.45, 0.2
"""Probability from which on an object is kept. For TP / (TP + FP + FN) it is best at AP / (1 + AP), which holds for
small ones; large ones are kept wherever they are possible, for images of kinds that nothing was learnt of."""
STRENGTH = 0.1
"""The inverse of the weight of the regression's penalty, as scikit-learn counts it."""


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--card", type=Path, help="a new card for the header")
    options.add_argument("-o", "--out", type=Path, help="by default the model itself")
    chosen = options.parse_args()
    network = load_network(chosen.model)
    network.header.pop("scoring", None)
    found = [objects_of(network, *image_and_truth(chosen.data, name)) for name in names(chosen.data)]
    features, is_nucleus, weights = (np.concatenate(each) for each in zip(*found, strict=True))
    scoring = fitted(features, is_nucleus, weights / weights.mean())
    tensors, header = read_tensors(chosen.model)
    header |= {"scoring": scoring} | ({"card": chosen.card.read_text()} if chosen.card else {})
    write_tensors(chosen.out or chosen.model, tensors, header)
    print(f"{len(found)} images, {len(features)} objects, {is_nucleus.mean():.3f} of them nuclei")


def names(data, split="train"):
    with open(data / "nuclei" / "index.csv", newline="") as file:
        return [row["name"] for row in csv.DictReader(file) if row["split"] == split]


def image_and_truth(data, name):
    image = imread(data / "nuclei" / "images" / f"{name}.png")
    return image, imread(data / "nuclei" / "labels" / f"{name}.png").astype(np.int32)


def objects_of(network, image, truth):
    """Return the features of all objects that are found, which of them match a nucleus, and how much each counts."""
    view = View(image, measure_levels(image), image.ndim == 3, (1.0, 1.0))
    scores, _ = drive(see(network, view, Looking()))
    said, how = pixel_scores(scores), decoding_of(network.header)
    labels = drive(find_objects(said, how))
    factor = np.sqrt(labels.size / truth.size)
    features = drive(measured(labels, said, usual_size(network.header["diameter_px"], 2), factor))
    overlaps = drive(find_overlaps(truth, drive(outlined(labels, said.object, how.object_level, truth.shape))))
    matched = overlaps.prediction[overlaps.columns[overlaps.iou > IOU]]
    weights = np.full(len(features), max(1, overlaps.truth.size) ** -0.5)  # between images and objects counted alike
    return features, np.isin(np.arange(1, len(features) + 1), matched), weights


def fitted(features, is_nucleus, counts):
    """Fit the regression, and say it as the header of a model holds it."""
    centre, spread = features.mean(0), features.std(0)
    terms = products(np.clip((features - centre) / spread, -FARTHEST, FARTHEST))
    scale = StandardScaler().fit(terms)
    model = LogisticRegression(C=STRENGTH, max_iter=5000).fit(scale.transform(terms), is_nucleus, counts)
    weights = model.coef_[0] / scale.scale_
    constant = model.intercept_[0] - weights @ scale.mean_
    return {
        "least": LEAST,
        "least_of_small": LEAST_OF_SMALL,
        "small_share": SMALL_SHARE,
        "centre": centre.tolist(),
        "spread": spread.tolist(),
        "weights": [float(constant), *weights.tolist()],
    }


if __name__ == "__main__":
    main()
