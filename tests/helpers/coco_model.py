"""The names and shapes of the published Mask R-CNN's tensors, and weights for it that every machine draws alike."""

import math

import numpy as np
import torch

DEPTHS, DEEPER = (3, 4, 6, 3), (3, 4, 23, 3)
WIDTHS = (64, 128, 256, 512)
NORMALISED = ("weight", "bias", "running_mean", "running_var")


def normalisation(name, channels):
    return {f"{name}.{part}": (channels,) for part in NORMALISED}


def with_bias(name, *shape, leaving=None):
    return {f"{name}.weight": shape, f"{name}.bias": (leaving or shape[0],)}


def block(name, entering, width, is_first):
    shapes = {f"{name}.conv1.weight": (width, entering, 1, 1), f"{name}.conv2.weight": (width, width, 3, 3)}
    shapes |= {f"{name}.conv3.weight": (4 * width, width, 1, 1)}
    for number, channels in ((1, width), (2, width), (3, 4 * width)):
        shapes |= normalisation(f"{name}.bn{number}", channels)
    if is_first:
        shapes |= {f"{name}.downsample.0.weight": (4 * width, entering, 1, 1)}
        shapes |= normalisation(f"{name}.downsample.1", 4 * width)
    return shapes


def backbone(depths):
    shapes = {"backbone.body.conv1.weight": (64, 3, 7, 7)} | normalisation("backbone.body.bn1", 64)
    for stage, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True)):
        entering = 64 if stage == 0 else 2 * width
        for number in range(depth):
            name = f"backbone.body.layer{stage + 1}.{number}"
            shapes |= block(name, entering if number == 0 else 4 * width, width, number == 0)
        shapes |= with_bias(f"backbone.fpn.inner_blocks.{stage}.0", 256, 4 * width, 1, 1)
        shapes |= with_bias(f"backbone.fpn.layer_blocks.{stage}.0", 256, 256, 3, 3)
    return shapes


def heads(classes):
    shapes = with_bias("rpn.head.conv.0.0", 256, 256, 3, 3)
    shapes |= with_bias("rpn.head.cls_logits", 3, 256, 1, 1) | with_bias("rpn.head.bbox_pred", 12, 256, 1, 1)
    shapes |= with_bias("roi_heads.box_head.fc6", 1024, 256 * 7 * 7) | with_bias("roi_heads.box_head.fc7", 1024, 1024)
    shapes |= with_bias("roi_heads.box_predictor.cls_score", classes, 1024)
    shapes |= with_bias("roi_heads.box_predictor.bbox_pred", 4 * classes, 1024)
    for number in range(4):
        shapes |= with_bias(f"roi_heads.mask_head.{number}.0", 256, 256, 3, 3)
    shapes |= with_bias("roi_heads.mask_predictor.conv5_mask", 256, 256, 2, 2)
    return shapes | with_bias("roi_heads.mask_predictor.mask_fcn_logits", classes, 256, 1, 1)


def coco_shapes(classes=91, depths=DEPTHS):
    """Return the name and shape of every tensor of the published model, or of one with as many blocks as `depths`."""
    return backbone(depths) | heads(classes)


def drawn_weights(classes):
    """Return weights that every machine draws alike, spread so that features neither fade nor explode."""
    noise = np.random.RandomState(0).standard_normal(999_983).astype(np.float32)  # the legacy generator never changes
    weights = {}
    for name, shape in sorted(coco_shapes(classes).items()):
        weights[name] = torch.from_numpy(spread(name, np.resize(noise, shape)))
        noise = np.roll(noise, 12_345)
    return weights


def spread(name, noise):
    if noise.ndim > 1:
        return noise * np.float32(gain(name) / math.sqrt(math.prod(noise.shape[1:])))
    if name.endswith("running_var") or (".bn" in name and name.endswith("weight")):
        return np.float32(0.2 if "bn3.weight" in name else 1) * (0.8 + 0.2 * np.abs(noise))
    return np.float32(0.1) * noise


def gain(name):
    gains = {"rpn.head.cls": 2, "rpn.head.bbox": 0.5, "box_predictor.cls": 0.5, "fcn_logits": 4}
    return next((value for part, value in gains.items() if part in name), math.sqrt(2))
