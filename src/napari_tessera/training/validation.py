"""Score a network on the validation images, which it segments exactly as in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.result import MethodOutput
from napari_tessera.methods.mask_rcnn import mask_rcnn
from napari_tessera.methods.unet import unet
from napari_tessera.metrics.segmentation import evaluation_of_many
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED, Example
from napari_tessera.training.simulated_user import clicked, score_clicks

if TYPE_CHECKING:
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.inference.predictor import Detector
    from napari_tessera.inference.predictor import Network as PreparedNetwork
    from napari_tessera.models.registry import ModelEntry
    from napari_tessera.models.weights import Network

Where = Literal["auto", "cpu", "cuda", "mps"]
Task = Literal["objects", "classes"]
LEAST_SCORES = tuple(round(0.05 * step, 2) for step in range(4, 19))
"""Threshold scores of objects to try."""


def score_network(
    net: Network, header: Mapping[str, Any], examples: Sequence[Example], device: Where = "auto"
) -> Job[dict[str, float]]:
    """Score a network on annotated images.

    Returns
    -------
    dict
        "score", which is maximised, and its parts: for objects the mean of AP@0.5 ("ap") and mean AP ("map"), each
        averaged over the images; for classes the mean IoU ("iou") and Dice ("dice") of all classes except the
        background, pooled over the images. For a Mask R-CNN, the scores at the best threshold ("least_score").
    """
    from napari_tessera.models.mask_rcnn.model import MaskRCNN

    if net.architecture.kind == "click":
        return (yield from score_clicks(clicking(net, header, device), examples))
    if isinstance(net, MaskRCNN):
        return (yield from score_detector(net, header, examples, device))
    is_classes = header["task"] == "classes"
    found = yield from subtask(segment_all(net, header, examples, device), 0, 9, 10)
    if not is_classes:
        return (yield from subtask(score_of_objects(found, examples), 9, 1, 10))
    pairs = [compared(labels, example.labels, is_classes) for labels, example in zip(found, examples, strict=True)]
    scores = yield from subtask(evaluation_of_many(pairs, task="classes"), 9, 1, 10)
    iou, dice = scores["pooled"]["mean_iou"], scores["pooled"]["mean_dice"]
    return {"score": iou, "iou": iou, "dice": dice}


def clicking(net: Network, header: Mapping[str, Any], device: Where) -> PreparedNetwork:
    """Return a click network that is not saved yet, ready to run."""
    from napari_tessera.inference.predictor import in_memory

    return in_memory(net, header, device).network


def score_of_objects(found: Sequence[np.ndarray], examples: Sequence[Example]) -> Job[dict[str, float]]:
    """Score the objects in images by AP@0.5 and mean AP, averaged over the images."""
    pairs = [compared(labels, example.labels, False) for labels, example in zip(found, examples, strict=True)]
    scores = yield from evaluation_of_many(pairs)
    ap, mean_ap = scores["mean"]["ap"]["0.50"], scores["mean"]["map"]
    return {"score": (ap + mean_ap) / 2, "ap": ap, "map": mean_ap}


def score_detector(
    net: Network, header: Mapping[str, Any], examples: Sequence[Example], device: Where
) -> Job[dict[str, float]]:
    """Score a Mask R-CNN at each of `LEAST_SCORES`, and return the best; each image is predicted once."""
    from napari_tessera.inference.predictor import in_memory

    found = yield from subtask(predict_all(in_memory(net, header, device).network, examples), 0, 8, 10)
    scored = []
    for number, least in enumerate(LEAST_SCORES):
        scoring = score_of_objects([each[number] for each in found], examples)
        scores = yield from subtask(scoring, 8 + 2 * number / len(LEAST_SCORES), 2 / len(LEAST_SCORES), 10)
        scored.append(scores | {"least_score": least})
    return max(scored, key=lambda scores: scores["score"])


def predict_all(network: Detector, examples: Sequence[Example]) -> Job[list[list[np.ndarray]]]:
    """Segment images at each of `LEAST_SCORES`."""
    found = []
    for done, example in enumerate(examples):
        found.append((yield from subtask(labels_by_least_score(network, example), done, 1, len(examples))))
    return found


def labels_by_least_score(network: Detector, example: Example) -> Job[list[np.ndarray]]:
    """Segment an image at each of `LEAST_SCORES`; its scale is found as the model's header says."""
    from napari_tessera.inference.detections_to_labels import DetectionThresholds, objects_of
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.inference.rescore_detections import lowest_score, rescore_with_unet
    from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_scale
    from napari_tessera.inference.tiled_detection import detect

    view = NormalizedImage(example.image, example.levels, example.is_coloured, (1.0, 1.0))
    known = MaskRCNNOptions(known_diameter(example), thresholds=DetectionThresholds.of(network.header))
    factor = (yield from subtask(find_scale(network, view, known), 0, 5, 10)).factor
    lowest = lowest_score(network.header, LEAST_SCORES[0])
    seen = yield from subtask(detect(network, view.grid_at(factor), view.read, lowest_score=lowest), 5, 3, 10)
    likely = yield from subtask(rescore_with_unet(network, view, seen, factor), 8, 1, 10)
    labels = []
    for least in LEAST_SCORES:
        which = DetectionThresholds.of(network.header, score=least)
        painting = objects_of(likely, view.shape, which, network.settings.is_aligned, 0)
        painted, _, _ = yield from subtask(painting, 9, 1, 10)
        labels.append(painted)
    return labels


def segment_all(
    net: Network, header: Mapping[str, Any], examples: Sequence[Example], device: Where = "auto"
) -> Job[list[np.ndarray]]:
    """Segment images with a network that is not yet a model: the labels of each."""
    from napari_tessera.inference.predictor import in_memory

    model, labels = in_memory(net, header, device), []
    for done, example in enumerate(examples):
        job = segmented(model, header["task"], example, device)
        labels.append((yield from subtask(job, done, 1, len(examples))))
    return labels


def segmented(model: ModelEntry, task: Task, example: Example, device: Where) -> Job[np.ndarray]:
    """Segment one image with the model's method; of a window, or an image with fill, the levels are known."""
    if model.kind == "click":
        from napari_tessera.inference.predictor import load_network

        return (yield from clicked(load_network(model, device), example))
    spacing = (example.anisotropy, 1.0, 1.0)[-example.labels.ndim :]
    if example.is_window or example.has_fill:
        from napari_tessera.inference.pixel_grid import NormalizedImage

        view = NormalizedImage(example.image, example.levels, example.is_coloured, spacing)
        return (yield from predict_view(model, view, task, known_diameter(example), device))
    channel_axis = example.image.ndim - 1 if example.is_coloured else None
    given: Any = model  # methods take the model itself in place of its name
    if model.kind == "mask_rcnn":
        found = yield from mask_rcnn(example.image, model=given, device=device, channel_axis=channel_axis)
        return found.labels
    seeing = unet(example.image, model=given, output=task, device=device, spacing=spacing, channel_axis=channel_axis)
    return MethodOutput.of((yield from seeing)).labels


def known_diameter(example: Example) -> float | None:
    """Return the object diameter to use: a window may be too small to estimate it."""
    return example.diameter_px if example.is_window else None


def predict_view(
    model: ModelEntry,
    view: NormalizedImage,
    output: Literal["objects", "classes", "probabilities"],
    diameter_px: float | None,
    device: Where,
) -> Job[np.ndarray]:
    """Segment with a model what may be a part of an image, at the brightness of the whole."""
    from napari_tessera.inference.decode_unet import UNetOptions
    from napari_tessera.inference.detections_to_labels import DetectionThresholds
    from napari_tessera.inference.predictor import Detector, load_predictor
    from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_objects
    from napari_tessera.inference.segment_unet import segment

    network = load_predictor(model, device)
    if isinstance(network, Detector):
        thresholds = DetectionThresholds.of(network.header)
        finding = find_objects(network, view, MaskRCNNOptions(diameter_px, thresholds=thresholds))
        labels, _, _ = yield from finding
        return labels
    return (yield from segment(network, view, UNetOptions(output, diameter_px)))


def compared(labels: np.ndarray, paint: np.ndarray, is_classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction, without the pixels that are not annotated.

    Of predicted objects, those count that lie mostly where there is annotation.
    """
    truth, is_painted = np.maximum(paint - BACKGROUND, 0), paint != NOT_PAINTED
    if is_painted.all():
        return truth, labels
    if is_classes:
        return truth, np.where(is_painted, labels, 0)
    count = int(labels.max(initial=0)) + 1
    all_px = np.bincount(labels.ravel(), minlength=count)
    painted_px = np.bincount(labels[is_painted], minlength=count)
    counts = 2 * painted_px >= all_px
    return truth, np.where(counts[labels], labels, 0)
