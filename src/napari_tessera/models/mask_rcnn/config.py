"""What makes a Mask R-CNN: its architecture, and its settings, with names and defaults of the published COCO model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from napari_tessera.models.header import Architecture
from napari_tessera.models.mask_rcnn.roi_align import Pooling

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
COCO_SIDES_PX = ((32,), (64,), (128,), (256,), (512,))
RATIOS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Settings:
    """How a Mask R-CNN takes an image, proposes, detects and learns.

    Parameters
    ----------
    min_size, max_size : int or None
        Images are scaled so that their shorter side has `min_size` pixels, but the longer one at most `max_size`.
        None: images are taken as they are.
    image_mean, image_std : sequence of float
        Per channel; the mean is subtracted, then divided by the other.
    anchor_sizes : sequence of sequences of float
        Sides of the anchors at each level of the pyramid, px; see `rpn.sides_for`.
    aspect_ratios : sequence of float
        Height over width of the anchors.
    rpn_pre_nms_top_n_train, rpn_pre_nms_top_n_test : int or None
        Best anchors of each level that go into non-maximum suppression. None: the number grows with the image.
    rpn_post_nms_top_n_train, rpn_post_nms_top_n_test : int or None
        Proposals kept of an image. None: the number grows with the image.
    rpn_nms_thresh, rpn_score_thresh : float
        Overlap (IoU) from which the lower of two proposals is dropped; lowest probability of a proposal.
    rpn_fg_iou_thresh, rpn_bg_iou_thresh : float
        An anchor that overlaps an object by more than the first is right, one below the second is wrong.
    rpn_batch_size_per_image, rpn_positive_fraction : int, float
        Anchors that count in a step, and how many of them at most are right.
    box_score_thresh, box_nms_thresh : float
        Lowest score of a detection; overlap from which the lower of two detections of a class is dropped.
    box_detections_per_img : int or None
        Most detections of an image. None: all.
    box_fg_iou_thresh, box_bg_iou_thresh, box_batch_size_per_image, box_positive_fraction
        The same as for the anchors, for the proposals.
    bbox_reg_weights : four floats
        Weights of the code in which the box head moves a box.
    canonical_px : float
        Side of a box that is read from the pyramid's third level.
    is_aligned : bool
        Features are read, and masks made labels, to a fraction of a pixel; see `Pooling`. False: as in the
        published model.
    largest_ignored_share : float
        A box that is no object counts as wrong only if at most this share of it is unpainted.
    """

    min_size: int | None = 800
    max_size: int | None = 1333
    image_mean: Sequence[float] = IMAGENET_MEAN
    image_std: Sequence[float] = IMAGENET_STD
    anchor_sizes: Sequence[Sequence[float]] = COCO_SIDES_PX
    aspect_ratios: Sequence[float] = RATIOS
    rpn_pre_nms_top_n_train: int | None = 2000
    rpn_pre_nms_top_n_test: int | None = 1000
    rpn_post_nms_top_n_train: int | None = 2000
    rpn_post_nms_top_n_test: int | None = 1000
    rpn_nms_thresh: float = 0.7
    rpn_score_thresh: float = 0.0
    rpn_fg_iou_thresh: float = 0.7
    rpn_bg_iou_thresh: float = 0.3
    rpn_batch_size_per_image: int = 256
    rpn_positive_fraction: float = 0.5
    box_score_thresh: float = 0.05
    box_nms_thresh: float = 0.5
    box_detections_per_img: int | None = 100
    box_fg_iou_thresh: float = 0.5
    box_bg_iou_thresh: float = 0.5
    box_batch_size_per_image: int = 512
    box_positive_fraction: float = 0.25
    bbox_reg_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0)
    canonical_px: float = 224.0
    is_aligned: bool = False
    largest_ignored_share: float = 0.5

    @property
    def box_pooling(self) -> Pooling:
        """How features are read for the box head."""
        return Pooling(7, canonical_px=self.canonical_px, is_aligned=self.is_aligned)

    @property
    def mask_pooling(self) -> Pooling:
        """How features are read for the mask head."""
        return Pooling(14, canonical_px=self.canonical_px, is_aligned=self.is_aligned)


@dataclass(frozen=True)
class MaskRCNNArchitecture(Architecture):
    """What is needed to build a Mask R-CNN; kept in the header of its model file.

    Parameters
    ----------
    num_classes : int
        With the background, class 0.
    channels : int
        Channels of the images.
    backbone : ``"resnet50"``, ``"resnet101"`` or ``"light"``
        Bottlenecks with frozen batch normalisation, or basic blocks with batch normalisation that is trained.
    widths : four ints
        Channels of the light backbone at each resolution; the others have their own.
    width, box_width : int
        Channels of the pyramid and of the mask head, and width of the box head.
    epsilon : float
        Added to the variance in frozen batch normalisation.
    settings : mapping
        Fields of `Settings` that differ from the published model's.
    """

    num_classes: int
    channels: int = 3
    backbone: Literal["resnet50", "resnet101", "light"] = "resnet50"
    widths: Sequence[int] = (64, 128, 256, 512)
    width: int = 256
    box_width: int = 1024
    epsilon: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: ClassVar[str] = "mask_rcnn"
