"""Mask R-CNN ready to use: the network of the published weights, and one small enough to ship.

References
----------
He et al. 2017, doi:10.1109/ICCV.2017.322
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_tessera.core.errors import ParameterError
from napari_tessera.models.header import check_architecture
from napari_tessera.models.mask_rcnn.anchors import sides_for
from napari_tessera.models.mask_rcnn.coco import COCO_CLASSES, read_coco_weights
from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture
from napari_tessera.models.mask_rcnn.model import MaskRCNN


def mask_rcnn_resnet50_fpn(
    num_classes: int = len(COCO_CLASSES),
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
    ParameterError
        If there is no such setting, or it cannot have this value.
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
    if channels != 3:
        settings = no_normalization(channels) | settings
    architecture = MaskRCNNArchitecture(num_classes, channels, epsilon=epsilon, settings=settings)
    try:
        if num_classes == 1:
            raise ValueError("`num_classes` is 1, but the background counts, too: give 2 for one class of objects")
        check_architecture({"kind": "mask_rcnn", **asdict(architecture), "widths": list(architecture.widths)})
    except ValueError as error:
        raise ParameterError(
            f"mask_rcnn_resnet50_fpn: {error}. See `detection_settings.Settings`.", "settings"
        ) from None
    model = MaskRCNN(architecture)
    if weights is not None:
        model.load_state_dict(read_coco_weights(None if weights == "coco" else weights))
    return model.eval()


def light_architecture(
    num_classes: int, channels: int, diameter_px: float = 32, **settings: Any
) -> MaskRCNNArchitecture:
    """Return how to build a Mask R-CNN small enough to ship, for crowded images of objects of one usual size.

    Images are neither scaled nor normalised by the model itself.

    Parameters
    ----------
    num_classes : int
        With the background, class 0.
    channels : int
        Channels of the images.
    diameter_px : float
        Usual diameter of an object.
    **settings
        Fields of `Settings`. By default no number is limited, and masks are aligned to a fraction of a pixel.
    """
    unlimited = ("rpn_pre_nms_top_n_test", "rpn_post_nms_top_n_test", "box_detections_per_img")
    own: dict[str, Any] = dict.fromkeys(unlimited)
    own |= {"min_size": None, "anchor_sizes": sides_for(diameter_px), "is_aligned": True} | no_normalization(channels)
    return MaskRCNNArchitecture(num_classes, channels, "light", (32, 64, 128, 256), 96, 384, settings=own | settings)


def no_normalization(channels: int) -> dict[str, Any]:
    """Return the settings under which an image's channels are not normalised."""
    return {"image_mean": (0.0,) * channels, "image_std": (1.0,) * channels}
