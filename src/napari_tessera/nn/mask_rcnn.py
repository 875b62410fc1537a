"""Mask R-CNN ready to use: the network of the published weights, and one small enough to ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_tessera.nn.anchors import sides_for
from napari_tessera.nn.coco_weights import CLASSES, read_coco_weights
from napari_tessera.nn.detection_settings import Settings
from napari_tessera.nn.detector import MaskRCNN
from napari_tessera.nn.pyramid import Backbone
from napari_tessera.nn.resnet import light_resnet, resnet50


def mask_rcnn_resnet50_fpn(
    num_classes: int = CLASSES,
    *,
    channels: int = 3,
    weights: str | Path | None = None,
    epsilon: float = 0.0,
    **settings: Any,
) -> MaskRCNN:
    """Build the Mask R-CNN of the published COCO weights, in eval mode: ResNet-50 with feature pyramid.

    Parameters
    ----------
    num_classes : int
        With the background, class 0.
    channels : int
        Channels of the images. With other than 3, the images are not normalised unless the settings say how.
    weights : ``"coco"`` or path, optional
        The published weights: downloaded, or from their file. They have 91 classes and 3 channels. Nothing given:
        random ones.
    epsilon : float
        Added to the variance in batch normalisation; the published weights were trained without.
    **settings
        Fields of `Settings`; those not given are as in the published model.

    Raises
    ------
    FileError
        If the weights cannot be had.

    References
    ----------
    He et al. 2017, doi:10.1109/ICCV.2017.322; COCO: Lin et al. 2014, doi:10.1007/978-3-319-10602-1_48

    Examples
    --------
    >>> import torch
    >>> model = mask_rcnn_resnet50_fpn(2, min_size=64, rpn_post_nms_top_n_test=20)
    >>> [found] = model([torch.zeros(3, 48, 64)])
    >>> found["masks"].shape[1:]
    torch.Size([1, 48, 64])
    """
    backbone = Backbone(resnet50(channels, epsilon), 256)
    model = MaskRCNN(backbone, num_classes, settings_for(channels, **settings))
    if weights is not None:
        model.load_state_dict(read_coco_weights(None if weights == "coco" else weights))
    return model.eval()


def light_mask_rcnn(
    num_classes: int,
    *,
    channels: int = 3,
    widths: Sequence[int] = (32, 64, 128, 256),
    width: int = 96,
    box_width: int = 384,
    diameter_px: float = 32,
    **settings: Any,
) -> MaskRCNN:
    """Build a Mask R-CNN small enough to ship, for crowded images of objects of one usual size, not scaled by itself.

    Parameters
    ----------
    num_classes : int
        With the background, class 0.
    channels : int
        Channels of the images, which are not normalised unless the settings say how.
    widths : four ints
        Channels of the backbone at each resolution.
    width, box_width : int
        Channels of the pyramid, and width of the box head.
    diameter_px : float
        Usual diameter of an object.
    **settings
        Fields of `Settings`. By default no number is limited, and masks are aligned to a fraction of a pixel.
    """
    crowd = dict.fromkeys(("rpn_pre_nms_top_n_test", "rpn_post_nms_top_n_test", "box_detections_per_img"))
    own: dict[str, Any] = {"min_size": None, "anchor_sizes": sides_for(diameter_px), "is_aligned": True}
    plain: dict[str, Any] = {"image_mean": (0.0,) * channels, "image_std": (1.0,) * channels}
    backbone = Backbone(light_resnet(channels, widths), width)
    return MaskRCNN(backbone, num_classes, Settings(**(crowd | own | plain | settings)), box_width)


def settings_for(channels: int, **settings: Any) -> Settings:
    """Return settings for images of so many channels: normalised as for ImageNet if there are 3, else not at all."""
    plain: dict[str, Any] = {} if channels == 3 else {"image_mean": (0.0,) * channels, "image_std": (1.0,) * channels}
    return Settings(**(plain | settings))
