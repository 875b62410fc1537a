"""What a Mask R-CNN's description says of its tensors; the names of layers are those of the published weights.

What the descriptions of all kinds of networks have in common: limits, and the tensors of usual layers.

What a U-Net's description says of its tensors: names and shapes, found without torch and before any is made.

What a network's description says of its tensors: names and shapes, found without torch and before any is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

__all__ = ["COUNTER", "KINDS", "MOST_WEIGHTS", "VARIANCE", "check_architecture", "kind_of", "tensor_shapes"]


MOST_CHANNELS = 8192
MOST_OUTPUTS = 1024
COUNTER = "num_batches_tracked"
VARIANCE = "running_var"

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor, by its name."""


def check_fields(architecture: Any, fields: Set[str]) -> None:
    """Raise a `ValueError` unless a description has all these fields, and no others but its kind."""
    if not isinstance(architecture, dict):
        raise ValueError("`architecture` must be a JSON object")
    if missing := fields - architecture.keys():
        raise ValueError(f"`architecture` has no {min(missing)!r}")
    if unknown := architecture.keys() - fields - {"kind"}:
        raise ValueError(f"{min(unknown)!r:.80} is unknown")


def is_count(value: Any, most: int) -> bool:
    """Return whether this is a whole number from 1 to `most`."""
    return type(value) is int and 1 <= value <= most


def layer_shapes(name: str, leaving: int, *entering: int) -> Shapes:
    """Return the tensors of a layer with a bias: (leaving, *entering) weights."""
    return {f"{name}.weight": (leaving, *entering), f"{name}.bias": (leaving,)}


def normalisation_shapes(name: str, channels: int, is_frozen: bool = False) -> Shapes:
    """Return the tensors of a batch normalisation; a frozen one does not count its batches."""
    shapes: Shapes = {f"{name}.{each}": (channels,) for each in ("weight", "bias", "running_mean", VARIANCE)}
    return shapes if is_frozen else shapes | {f"{name}.{COUNTER}": ()}


MASK_RCNN_FIELDS = frozenset(
    {"num_classes", "channels", "backbone", "widths", "width", "box_width", "epsilon", "settings"}
)
DEPTHS = {"resnet50": (3, 4, 6, 3), "light": (2, 2, 2, 2)}
"""Blocks at each resolution of a backbone."""
RESNET50_WIDTHS = (64, 128, 256, 512)
RESNET50_EXPANSION = 4
LEVELS = 5
"""Levels of the pyramid, each with anchors of its own."""
BOX_SIZE = 7
"""Rows and columns to which the features of a box are pooled."""
MOST_ANCHORS = 64
MOST_BOXES = 10_000_000
LARGEST_NUMBER = 1e6

Check = Callable[[Any], bool]


def is_number(value: Any, low: float = -LARGEST_NUMBER, high: float = LARGEST_NUMBER) -> bool:
    """Return whether this is a number from `low` to `high`."""
    return type(value) in (int, float) and low <= value <= high


def are_numbers(value: Any, low: float, most: int) -> bool:
    """Return whether this is a list of 1 to `most` numbers that are not below `low`."""
    return isinstance(value, list | tuple) and 1 <= len(value) <= most and all(is_number(each, low) for each in value)


def is_share(value: Any) -> bool:
    """Return whether this is a number from 0 to 1."""
    return is_number(value, 0, 1)


def is_limit(value: Any) -> bool:
    """Return whether this is a whole number from 1 on, or None for no limit."""
    return value is None or is_count(value, MOST_BOXES)


def is_length(value: Any) -> bool:
    """Return whether this is a number of pixels."""
    return is_number(value, 1e-3)


def are_anchors(value: Any) -> bool:
    """Return whether these are sides of anchors for each level of the pyramid, as many at each."""
    return (
        isinstance(value, list | tuple)
        and len(value) == LEVELS
        and all(are_numbers(sides, 1e-3, MOST_ANCHORS) and len(sides) == len(value[0]) for sides in value)
    )


SETTINGS: Mapping[str, Check] = {
    "min_size": is_limit,
    "max_size": is_limit,
    "image_mean": lambda value: are_numbers(value, -LARGEST_NUMBER, MOST_CHANNELS),
    "image_std": lambda value: are_numbers(value, 1e-9, MOST_CHANNELS),
    "anchor_sizes": are_anchors,
    "aspect_ratios": lambda value: are_numbers(value, 1e-3, MOST_ANCHORS),
    **dict.fromkeys(("rpn_pre_nms_top_n_train", "rpn_pre_nms_top_n_test"), is_limit),
    **dict.fromkeys(("rpn_post_nms_top_n_train", "rpn_post_nms_top_n_test", "box_detections_per_img"), is_limit),
    **dict.fromkeys(("rpn_nms_thresh", "rpn_score_thresh", "rpn_fg_iou_thresh", "rpn_bg_iou_thresh"), is_share),
    **dict.fromkeys(("rpn_positive_fraction", "box_positive_fraction", "largest_ignored_share"), is_share),
    **dict.fromkeys(("box_score_thresh", "box_nms_thresh", "box_fg_iou_thresh", "box_bg_iou_thresh"), is_share),
    **dict.fromkeys(
        ("rpn_batch_size_per_image", "box_batch_size_per_image"), lambda value: is_count(value, MOST_BOXES)
    ),
    "bbox_reg_weights": lambda value: are_numbers(value, 1e-6, 4) and len(value) == 4,
    "canonical_px": is_length,
    "is_aligned": lambda value: type(value) is bool,
}
"""What the settings of a Mask R-CNN can be; see `nn.detection_settings.Settings`."""
PUBLISHED_ANCHORS, PUBLISHED_RATIOS = 1, 3
"""Sides of anchors at each level, and shapes, where the settings do not say."""


def check_mask_rcnn(architecture: Any) -> None:
    """Raise a `ValueError` that names the first thing in a description that no Mask R-CNN can have.

    Parameters
    ----------
    architecture : dict
        kind, and the fields of `nn.detection_settings.Architecture`.
    """
    check_fields(architecture, MASK_RCNN_FIELDS)
    for name, most in (("num_classes", MOST_OUTPUTS), ("channels", MOST_CHANNELS), ("width", MOST_CHANNELS)):
        if not is_count(architecture[name], most):
            raise ValueError(f"`{name}` must be a whole number from 1 to {most}")
    if not is_count(architecture["box_width"], MOST_CHANNELS):
        raise ValueError(f"`box_width` must be a whole number from 1 to {MOST_CHANNELS}")
    if architecture["backbone"] not in list(DEPTHS):
        raise ValueError(f"`backbone` must be {' or '.join(DEPTHS)}, not {architecture['backbone']!r:.80}")
    widths = architecture["widths"]
    if not isinstance(widths, list) or len(widths) != 4 or not all(is_count(each, MOST_CHANNELS) for each in widths):
        raise ValueError(f"`widths` must be four whole numbers from 1 to {MOST_CHANNELS}")
    if not is_share(architecture["epsilon"]):
        raise ValueError("`epsilon` must be a number from 0 to 1")
    check_settings(architecture["settings"], architecture["channels"])


def check_settings(settings: Any, channels: int) -> None:
    """Raise a `ValueError` unless these are settings of a network for images of so many channels."""
    if not isinstance(settings, dict):
        raise ValueError("`settings` must be a JSON object")
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ValueError(f"`settings` has {name!r:.80}, which is unknown")
        if not SETTINGS[name](value):
            raise ValueError(f"`{name}` in `settings` cannot be {value!r:.80}")
    for name in ("image_mean", "image_std"):
        if len(settings.get(name, (0, 0, 0))) != channels:
            raise ValueError(f"`{name}` in `settings` must have one number for each of the {channels} channels")


def mask_rcnn_shapes(architecture: Mapping[str, Any]) -> Shapes:
    """Return name and shape of every tensor in the state of `nn.detector.MaskRCNN`.

    Parameters
    ----------
    architecture : mapping
        Found sound by `check_mask_rcnn`.
    """
    backbone, channels, width = architecture["backbone"], architecture["channels"], architecture["width"]
    if backbone == "light":
        shapes, leaving = light_shapes(channels, architecture["widths"]), list(architecture["widths"])
    else:
        shapes, leaving = resnet50_shapes(channels), [RESNET50_EXPANSION * each for each in RESNET50_WIDTHS]
    for level, entering in enumerate(leaving):
        shapes |= layer_shapes(f"backbone.fpn.inner_blocks.{level}.0", width, entering, 1, 1)
        shapes |= layer_shapes(f"backbone.fpn.layer_blocks.{level}.0", width, width, 3, 3)
    settings = architecture["settings"]
    sides = len(settings["anchor_sizes"][0]) if "anchor_sizes" in settings else PUBLISHED_ANCHORS
    anchors = sides * len(settings.get("aspect_ratios", range(PUBLISHED_RATIOS)))
    return shapes | head_shapes(width, architecture["box_width"], architecture["num_classes"], anchors)


def resnet50_shapes(channels: int) -> Shapes:
    """Return the tensors of ResNet-50 without its classifier: bottlenecks, with frozen batch normalisation."""
    shapes = stem_shapes(channels, RESNET50_WIDTHS[0], is_frozen=True)
    entering = RESNET50_WIDTHS[0]
    for stage, (width, depth) in enumerate(zip(RESNET50_WIDTHS, DEPTHS["resnet50"], strict=True), start=1):
        for block in range(depth):
            leaving = RESNET50_EXPANSION * width
            sizes = [(width, entering, 1), (width, width, 3), (leaving, width, 1)]
            shapes |= block_shapes(f"backbone.body.layer{stage}.{block}", sizes, is_frozen=True)
            if block == 0:
                shapes |= shortcut_shapes(f"backbone.body.layer{stage}.0", leaving, entering, is_frozen=True)
            entering = leaving
    return shapes


def light_shapes(channels: int, widths: Sequence[int]) -> Shapes:
    """Return the tensors of the light backbone: basic blocks, with batch normalisation that is trained."""
    shapes, entering = stem_shapes(channels, widths[0], is_frozen=False), widths[0]
    for stage, (width, depth) in enumerate(zip(widths, DEPTHS["light"], strict=True), start=1):
        for block in range(depth):
            sizes = [(width, entering, 3), (width, width, 3)]
            shapes |= block_shapes(f"backbone.body.layer{stage}.{block}", sizes, is_frozen=False)
            if block == 0 and (stage > 1 or entering != width):
                shapes |= shortcut_shapes(f"backbone.body.layer{stage}.0", width, entering, is_frozen=False)
            entering = width
    return shapes


def stem_shapes(channels: int, width: int, is_frozen: bool) -> Shapes:
    """Return the tensors of the first convolution and its normalisation."""
    shapes: Shapes = {"backbone.body.conv1.weight": (width, channels, 7, 7)}
    return shapes | normalisation_shapes("backbone.body.bn1", width, is_frozen)


def block_shapes(name: str, sizes: Sequence[tuple[int, int, int]], is_frozen: bool) -> Shapes:
    """Return the tensors of convolutions (leaving, entering, side), each with its normalisation behind it."""
    shapes: Shapes = {}
    for number, (leaving, entering, side) in enumerate(sizes, start=1):
        shapes[f"{name}.conv{number}.weight"] = (leaving, entering, side, side)
        shapes |= normalisation_shapes(f"{name}.bn{number}", leaving, is_frozen)
    return shapes


def shortcut_shapes(name: str, leaving: int, entering: int, is_frozen: bool) -> Shapes:
    """Return the tensors of the convolution beside a block whose output has another shape than its input."""
    shapes: Shapes = {f"{name}.downsample.0.weight": (leaving, entering, 1, 1)}
    return shapes | normalisation_shapes(f"{name}.downsample.1", leaving, is_frozen)


def head_shapes(width: int, box_width: int, num_classes: int, anchors: int) -> Shapes:
    """Return the tensors of the heads: of proposals, of boxes and of masks."""
    shapes = layer_shapes("rpn.head.conv.0.0", width, width, 3, 3)
    shapes |= layer_shapes("rpn.head.cls_logits", anchors, width, 1, 1)
    shapes |= layer_shapes("rpn.head.bbox_pred", 4 * anchors, width, 1, 1)
    shapes |= layer_shapes("roi_heads.box_head.fc6", box_width, width * BOX_SIZE**2)
    shapes |= layer_shapes("roi_heads.box_head.fc7", box_width, box_width)
    shapes |= layer_shapes("roi_heads.box_predictor.cls_score", num_classes, box_width)
    shapes |= layer_shapes("roi_heads.box_predictor.bbox_pred", 4 * num_classes, box_width)
    for layer in range(4):
        shapes |= layer_shapes(f"roi_heads.mask_head.{layer}.0", width, width, 3, 3)
    shapes |= {"roi_heads.mask_predictor.conv5_mask.weight": (width, width, 2, 2)}
    shapes |= {"roi_heads.mask_predictor.conv5_mask.bias": (width,)}
    return shapes | layer_shapes("roi_heads.mask_predictor.mask_fcn_logits", num_classes, width, 1, 1)


MOST_LEVELS = 8
MOST_HEADS = 16
UNET_FIELDS = frozenset({"channels", "heads", "widths", "ndim"})


def check_unet(architecture: Any) -> None:
    """Raise a `ValueError` that names the first thing in a description that no U-Net can have.

    Parameters
    ----------
    architecture : dict
        kind, channels, heads, widths and ndim, as `nn.unet.Architecture` explains them.
    """
    check_fields(architecture, UNET_FIELDS)
    heads, widths = architecture["heads"], architecture["widths"]
    if not is_count(architecture["channels"], MOST_CHANNELS):
        raise ValueError(f"`channels` must be a whole number from 1 to {MOST_CHANNELS}")
    if not isinstance(widths, list) or not all(is_count(width, MOST_CHANNELS) for width in widths):
        raise ValueError(f"`widths` must be whole numbers from 1 to {MOST_CHANNELS}")
    if not 1 <= len(widths) <= MOST_LEVELS:
        raise ValueError(f"`widths` has {len(widths)} levels, but 1 to {MOST_LEVELS} are possible")
    if not isinstance(heads, dict) or not 1 <= len(heads) <= MOST_HEADS or not all(map(is_head_name, heads)):
        raise ValueError(f"`heads` must be 1 to {MOST_HEADS} named outputs")
    if not all(is_count(size, MOST_OUTPUTS) for size in heads.values()):
        raise ValueError(f"each of `heads` must have 1 to {MOST_OUTPUTS} channels")
    if type(architecture["ndim"]) is not int or architecture["ndim"] not in (2, 3):
        raise ValueError("`ndim` must be 2 or 3")


def is_head_name(name: str) -> bool:
    """Return whether a module of a network can have this name."""
    return name.isidentifier() and len(name) <= 64


def unet_shapes(architecture: Mapping[str, Any]) -> Shapes:
    """Return name and shape of every tensor in the state of `nn.unet.UNet`.

    Parameters
    ----------
    architecture : mapping
        Found sound by `check_unet`.

    Examples
    --------
    >>> shapes = unet_shapes({"channels": 1, "heads": {"classes": 3}, "widths": [4, 8], "ndim": 2})
    >>> shapes["down.0.0.weight"], shapes["rise.0.weight"], shapes["heads.classes.weight"]
    ((4, 1, 3, 3), (8, 4, 2, 2), (3, 4, 1, 1))
    """
    widths, ndim = architecture["widths"], architecture["ndim"]
    shapes: Shapes = {}
    for level, (entering, leaving) in enumerate(zip([architecture["channels"], *widths], widths, strict=False)):
        shapes |= double_convolution_shapes(f"down.{level}", entering, leaving, ndim)
    for step, (below, here) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
        shapes |= {f"rise.{step}.weight": (below, here, *[2] * ndim), f"rise.{step}.bias": (here,)}
        shapes |= double_convolution_shapes(f"up.{step}", 2 * here, here, ndim)
    for name, size in architecture["heads"].items():
        shapes |= {f"heads.{name}.weight": (size, widths[0], *[1] * ndim), f"heads.{name}.bias": (size,)}
    return shapes


def double_convolution_shapes(name: str, entering: int, leaving: int, ndim: int) -> Shapes:
    """Return the tensors of two convolutions, each with its batch normalisation behind it."""
    shapes: Shapes = {}
    for position, channels in ((0, entering), (3, leaving)):
        shapes[f"{name}.{position}.weight"] = (leaving, channels, *[3] * ndim)
        shapes |= normalisation_shapes(f"{name}.{position + 1}", leaving)
    return shapes


MOST_WEIGHTS = 500_000_000
KINDS: Mapping[str, tuple[Callable[[Any], None], Callable[[Mapping[str, Any]], Shapes]]] = {
    "unet": (check_unet, unet_shapes),
    "mask_rcnn": (check_mask_rcnn, mask_rcnn_shapes),
}
"""Kinds of network: what checks a description, and what reads the shapes off it."""
OLDEST_KIND = "unet"


def kind_of(architecture: Any) -> str:
    """Return the kind of network that is described; where nothing is said, a U-Net.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    kind = architecture.get("kind", OLDEST_KIND) if isinstance(architecture, dict) else OLDEST_KIND
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"it is a network of kind {kind!r:.80}, but this Tessera knows {', '.join(KINDS)}")
    return kind


def check_architecture(architecture: Any) -> None:
    """Raise a `ValueError` that names the first thing in a description that no network of its kind can have.

    Parameters
    ----------
    architecture : dict
        kind ("unet" or "mask_rcnn"), and the fields of `nn.unet.Architecture` or `nn.detection_settings.Architecture`.
    """
    check, _ = KINDS[kind_of(architecture)]
    check(architecture)
    n_weights = sum(math.prod(shape) for shape in tensor_shapes(architecture).values())
    if n_weights > MOST_WEIGHTS:
        raise ValueError(f"the network would have {n_weights:,} weights, but at most {MOST_WEIGHTS:,} are allowed")


def tensor_shapes(architecture: Mapping[str, Any]) -> Shapes:
    """Return name and shape of every tensor in the state of a network.

    Parameters
    ----------
    architecture : mapping
        Found sound by `check_architecture`.

    Examples
    --------
    >>> shapes = tensor_shapes({"kind": "unet", "channels": 1, "heads": {"classes": 3}, "widths": [4, 8], "ndim": 2})
    >>> shapes["heads.classes.weight"]
    (3, 4, 1, 1)
    """
    _, shapes_of = KINDS[kind_of(architecture)]
    return shapes_of(architecture)
