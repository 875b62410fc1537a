"""Learn which objects that a model finds are none: python fit_scoring.py --index TABLE --model PATH [-o PATH].

TABLE is that of the training. The U-Net or Mask R-CNN segments the images of the split `train`, and keeps all it finds;
a logistic regression learns which of these objects match a true one at IoU 0.5, and is written into the header of the
model. A kind of image (column `kind`, if there is one) counts as the square root of its number of images. With --second
NAME, another regression also knows what that U-Net sees where a Mask R-CNN detects something. The weights of the
networks stay as they are. Needs scikit-learn, which the extra `test` brings.
"""

import argparse
import csv
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from imageio.v3 import imread
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from napari_tessera.core.jobs import run_job
from napari_tessera.core.overlaps import find_overlaps
from napari_tessera.inference import scale_search
from napari_tessera.inference.decode_unet import UNetOptions, decoding_of, find_objects, pixel_scores, usual_size
from napari_tessera.inference.detections_to_labels import DetectionThresholds, objects_of
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.inference.object_features import (
    FARTHEST,
    FEATURES,
    LikenessLimits,
    Scoring,
    likeness_of,
    measured,
    products,
)
from napari_tessera.inference.pixel_grid import NormalizedImage, outlined
from napari_tessera.inference.predictor import load_detector, load_network
from napari_tessera.inference.rescore_detections import features_of, unet_features
from napari_tessera.inference.scale_search import predict_or_reuse
from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_scale
from napari_tessera.inference.tiled_detection import detect
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import N_FEATURES, kind_of
from napari_tessera.models.weights import read_tensors, write_tensors

IOU = 0.5
UNET_LIMITS = {"least": 0.1, "least_of_small": 0.45, "small_share": 0.2}
"""Probability from which on an object is kept. For TP / (TP + FP + FN) it is best at AP / (1 + AP), which holds for
small ones; large ones are kept wherever they are possible, for images of kinds that nothing was learnt of."""
LOWEST, LEAST_SCORE = 0.08, 0.4
"""Score of a box from which on a detection is judged, and probability from which on it is kept."""
BEYOND = 0.03
"""Share of the images of the training that a U-Net may take for unlike the training."""
STRENGTH = 0.1
"""The inverse of the weight of the regression's penalty, as scikit-learn counts it."""


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--index", type=Path, required=True)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--second", help="name of a U-Net that judges what a Mask R-CNN detects")
    options.add_argument("--least", type=float, default=UNET_LIMITS["least"], help="of a U-Net, as in UNET_LIMITS")
    options.add_argument("--card", type=Path, help="a new card for the header")
    options.add_argument("-o", "--out", type=Path, help="by default the model itself")
    chosen = options.parse_args()
    tensors, header = read_tensors(chosen.model)
    is_unet = kind_of(header["architecture"]) == "unet"
    network = (load_network if is_unet else load_detector)(chosen.model)
    network.header.pop("scoring", None)
    second = catalogue.find(chosen.second) if chosen.second else None
    look = seen_by_unet if is_unet else partial(seen_by_mask_rcnn, second and load_network(second.path))
    found = [judged(*look(network, image), truth, share) for image, truth, share in images_and_truths(chosen.index)]
    features, is_real, weights = (np.concatenate(each) for each in zip(*found, strict=True))
    weights /= weights.mean()
    limits = UNET_LIMITS | {"least": chosen.least} if is_unet else {"lowest": LOWEST}
    own = features[:, : N_FEATURES[kind_of(header["architecture"])]]
    header |= {"scoring": limits | fitted(own, is_real, weights)}
    if is_unet:
        shares = [share for *_, share in images_and_truths(chosen.index)]
        header["scoring"] |= limits_of_likeness([each[0] for each in found], shares, header)
    header.pop("second_opinion", None)
    if second:
        named = {"model": second.name, "sha256": second.sha256()}
        header |= {"second_opinion": named | fitted(features, is_real, weights)}
    if not is_unet:
        header["decoding"]["score"] = LEAST_SCORE
    header |= {"card": chosen.card.read_text()} if chosen.card else {}
    write_tensors(chosen.out or chosen.model, tensors, header)
    print(f"{len(found)} images, {len(features)} objects, {is_real.mean():.3f} of them real")


def images_and_truths(index, split="train"):
    """Yield each image of a split once, with its labels and its weight."""
    with open(index, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    paths = {paths_of(index.parent, row): row.get("kind", "") for row in rows}
    counts = Counter(paths.values())
    for (image, label), kind in paths.items():
        yield imread(image), imread(label).astype(np.int32), counts[kind] ** -0.5


def paths_of(folder, row):
    """Return the paths of an image and its labels, which a table names, or the files of a folder beside it."""
    if "image" in row:
        return folder / row["image"], folder / row["label"]
    return folder / "images" / f"{row['name']}.png", folder / "labels" / f"{row['name']}.png"


def view_of(image):
    return NormalizedImage(image, measure_levels(image), image.ndim == 3, (1.0, 1.0))


def seen_by_unet(network, image):
    """Return the features of all objects that are found, and their labels."""
    view = view_of(image)
    scale = run_job(scale_search.find_scale(network, view, UNetOptions()))
    scores = run_job(predict_or_reuse(scale, network, view, UNetOptions()))
    grid = view.grid_at(scale.factor)
    said, how = pixel_scores(scores), decoding_of(network.header)
    labels = run_job(find_objects(said, how))
    features = run_job(measured(labels, said, usual_size(network.header["diameter_px"], 2), np.sqrt(grid.share)))
    return features, run_job(outlined(labels, said.object, how.object_level, grid))


def seen_by_mask_rcnn(second, network, image):
    """Return the features of all detections that become objects, with those by a U-Net if given, and their labels."""
    view = view_of(image)
    wanted = MaskRCNNOptions(thresholds=DetectionThresholds.of(network.header))
    factor = run_job(find_scale(network, view, wanted)).factor
    found = run_job(detect(network, view.grid_at(factor), view.read, lowest_score=LOWEST))
    by_number = replace(found, labels=torch.arange(len(found.labels)))
    all_of_them = DetectionThresholds.of(network.header, score=0)
    labels, rows, _ = run_job(objects_of(by_number, view.shape, all_of_them, network.settings.is_aligned, 0))
    features = features_of(found, usual_size(network.header["diameter_px"], 2), factor)
    if second:
        features = np.concatenate([features, run_job(unet_features(found, view, second, factor))], axis=1)
    return features[rows.classes], labels


def judged(features, labels, truth, share):
    """Return the features of objects, which of them match a true one, and how much each counts."""
    overlaps = run_job(find_overlaps(truth, labels))
    matched = overlaps.prediction[overlaps.columns[overlaps.iou > IOU]]
    weight = share * max(1, overlaps.truth.size) ** -0.5  # between counting images alike and counting objects alike
    is_real = np.isin(np.arange(1, len(features) + 1), matched)
    return features, is_real, np.full(len(features), weight)


def limits_of_likeness(features, shares, header):
    """Return the limits within which the images lie, but for a few: wider than those of nuclei, never narrower."""
    scoring = Scoring.of(header, usual_size(header["diameter_px"], 2), 1.0)
    likeness = [likeness_of(each, np.exp(each[:, FEATURES.index("log area")]), scoring) for each in features]
    probability = quantile([each.probability for each in likeness], shares, BEYOND)
    distance = quantile([each.distance for each in likeness], shares, 1 - BEYOND)
    spread = quantile([each.spread for each in likeness], shares, BEYOND)  # 1 with hardly any objects
    of_nuclei = LikenessLimits()
    return {
        "least_probability": min(of_nuclei.least_probability, probability),
        "farthest_median": max(of_nuclei.farthest_median, distance),
        "least_spread": min(of_nuclei.least_spread, spread),
    }


def quantile(values, weights, share):
    """Return the value below which lies a share of the weight."""
    order = np.argsort(values)
    reached = np.cumsum(np.asarray(weights)[order]) / np.sum(weights)
    return float(np.asarray(values)[order][np.searchsorted(reached, share)])


def fitted(features, is_real, counts):
    """Fit the regression, and say it as the header of a model holds it."""
    centre, spread = features.mean(0), features.std(0)
    terms = products(np.clip((features - centre) / spread, -FARTHEST, FARTHEST))
    scale = StandardScaler().fit(terms)
    model = LogisticRegression(C=STRENGTH, max_iter=5000).fit(scale.transform(terms), is_real, counts)
    weights = model.coef_[0] / scale.scale_
    constant = model.intercept_[0] - weights @ scale.mean_
    return {
        "centre": centre.tolist(),
        "spread": spread.tolist(),
        "weights": [float(constant), *weights.tolist()],
    }


if __name__ == "__main__":
    main()
