"""Mask R-CNN: propose boxes, classify each, and mark the pixels of its object; the published network and a small one.

References
----------
He et al. (2017), Mask R-CNN, doi:10.1109/ICCV.2017.322
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from napari_tessera.core.errors import ParameterError
from napari_tessera.models.header import check_architecture
from napari_tessera.models.mask_rcnn.backbone import Backbone, light_resnet, resnet
from napari_tessera.models.mask_rcnn.coco import COCO_CLASSES, check_tensors, read_coco_weights, with_current_names
from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture, Settings
from napari_tessera.models.mask_rcnn.detections import Detections, detect
from napari_tessera.models.mask_rcnn.heads import ProposalHead, RegionHeads
from napari_tessera.models.mask_rcnn.losses import STRIDES, Criteria, draw_proposals, proposal_losses, region_losses
from napari_tessera.models.mask_rcnn.masks import paste_masks
from napari_tessera.models.mask_rcnn.matcher import DetectionTarget
from napari_tessera.models.mask_rcnn.roi_align import roi_align
from napari_tessera.models.mask_rcnn.rpn import Proposals, grid_anchors, limits, propose, sides_for
from napari_tessera.models.mask_rcnn.transform import ImageBatch, check_images, image_batch, plane_shape

MASKS_AT_ONCE = 256
"""Boxes that go through a head at a time when detecting, which bounds the memory in crowded images."""


class MaskRCNN(nn.Module):
    """Find objects, and for each its class, score, box and mask.

    Parameters
    ----------
    architecture : MaskRCNNArchitecture

    Attributes
    ----------
    architecture : MaskRCNNArchitecture
    settings : Settings
        Those of the architecture, complete.
    """

    def __init__(self, architecture: MaskRCNNArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.settings = settings = Settings(**architecture.settings)
        self.backbone = backbone(architecture)
        n_anchors = len(settings.aspect_ratios) * len(settings.anchor_sizes[0])
        self.rpn = nn.ModuleDict({"head": ProposalHead(architecture.width, n_anchors)})  # the name in published weights
        self.roi_heads = RegionHeads(
            architecture.width, architecture.num_classes, architecture.box_width, settings.box_pooling.size
        )

    @torch.no_grad()
    def forward(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Detect objects, with each mask in an image of its own.

        Parameters
        ----------
        images : sequence of float32 Tensor (C, Y, X)
            0…1; their sizes may differ.

        Returns
        -------
        list of dict
            Per image, highest score first: ``boxes`` (N, 4) as x0, y0, x1, y1 in pixels of the image, ``labels`` (N,)
            from 1, ``scores`` (N,), and ``masks`` (N, 1, Y, X), the probability that a pixel belongs to the object.

        Raises
        ------
        InputError
            If something is no such tensor.
        """
        found = zip(self.detect(images), images, strict=True)
        return [
            {
                "boxes": each.boxes,
                "labels": each.labels,
                "scores": each.scores,
                "masks": paste_masks(each.masks, each.boxes, plane_shape(image))[:, None],
            }
            for each, image in found
        ]

    @torch.no_grad()
    def detect(self, images: Sequence[Tensor], lowest_score: float | None = None) -> list[Detections]:
        """Detect objects, with masks as m×m points in their boxes: small even for thousands of objects.

        Detections below `lowest_score` are left out and counted; boxes are in pixels of the images as given.

        Parameters
        ----------
        images : sequence of float32 Tensor (C, Y, X)
            0…1; their sizes may differ.

        Raises
        ------
        InputError
            If something is no such tensor.
        """
        check_images(images, self.architecture.channels)
        if not len(images):
            return []
        batch = image_batch(images, self.settings)
        levels = self.features(batch)
        found = []
        for index, proposals in enumerate(self.propose(levels, batch)):
            own = [level[index : index + 1] for level in levels[: len(STRIDES)]]
            each = self.detect_in_proposals(own, proposals, batch.shapes[index], lowest_score)
            down, right = batch.growth(index)
            found.append(each.scaled(1 / down, 1 / right))
        return found

    def features(self, batch: ImageBatch) -> list[Tensor]:
        """Return the levels of the pyramid, each float32 (B, C, Y, X), whatever the precision of the backbone."""
        precision = self.backbone.body.conv1.weight.dtype
        return [level.float() for level in self.backbone(batch.pixels.to(precision))]

    def propose(self, levels: Sequence[Tensor], batch: ImageBatch) -> list[Proposals]:
        """Propose boxes in each image of a batch, given the levels of its pyramid, each (B, C, Y, X)."""
        anchors = self.anchors(levels, batch)
        scores, codes = self.rpn["head"](list(levels))
        return [self._propose(index, scores, codes, anchors, shape) for index, shape in enumerate(batch.shapes)]

    def _propose(
        self,
        index: int,
        scores: Sequence[Tensor],
        codes: Sequence[Tensor],
        anchors: Sequence[Tensor],
        shape: tuple[int, int],
    ) -> Proposals:
        own_scores = [each[index].detach().float() for each in scores]
        own_codes = [each[index].detach().float() for each in codes]
        most = limits(self.settings, shape, self.training)
        return propose(own_scores, own_codes, anchors, shape, most, self.settings)

    def anchors(self, levels: Sequence[Tensor], batch: ImageBatch) -> list[Tensor]:
        """Return the anchors of each level, (Y·X·A, 4)."""
        grids, shape = [plane_shape(level) for level in levels], plane_shape(batch.pixels)
        settings = self.settings
        return grid_anchors(grids, shape, settings.anchor_sizes, settings.aspect_ratios, batch.pixels.device)

    def detect_in_proposals(
        self,
        levels: Sequence[Tensor],
        proposals: Proposals,
        shape: tuple[int, int],
        lowest_score: float | None = None,
    ) -> Detections:
        """Detect what is in the proposals of one image of `shape`, given its levels, each (1, C, Y, X)."""
        parts = [self._box_scores(levels, part) for part in proposals.boxes.split(4 * MASKS_AT_ONCE)]
        scores, codes = (torch.cat([part[which] for part in parts]).float() for which in (0, 1))
        found = detect(scores, codes, proposals.boxes, shape, self.settings, lowest_score)
        together = zip(found.boxes.split(MASKS_AT_ONCE), found.labels.split(MASKS_AT_ONCE), strict=True)
        masks = torch.cat([self._masks(levels, boxes, labels) for boxes, labels in together])
        return replace(found, masks=masks, left=replace(found.left, proposals=proposals.cut))

    def _box_scores(self, levels: Sequence[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        return self.roi_heads.boxes(roi_align(levels, [boxes], STRIDES, self.settings.box_pooling))

    def _masks(self, levels: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the probability of each point of the boxes for the class given: (N, m, m)."""
        scores = self.roi_heads.masks(roi_align(levels, [boxes], STRIDES, self.settings.mask_pooling))
        return scores[torch.arange(len(labels), device=labels.device), labels].float().sigmoid()

    def losses(
        self,
        images: Sequence[Tensor],
        truths: Sequence[DetectionTarget],
        criteria: Criteria,
        rng: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the parts of the loss on a batch of float32 images (C, Y, X).

        They are ``"objectness"``, ``"proposal_box"``, ``"class"``, ``"box"`` and ``"mask"``. `rng` draws the anchors
        and proposals that count.
        """
        batch, settings = image_batch(images, self.settings), self.settings
        known = [truth.scaled(shape) for truth, shape in zip(truths, batch.shapes, strict=True)]
        levels = self.features(batch)
        anchors = self.anchors(levels, batch)
        scores, codes = self.rpn["head"](levels)
        parts = proposal_losses(
            list(torch.cat(scores, dim=1)), list(torch.cat(codes, dim=1)), torch.cat(anchors), known, settings, rng
        )
        drawn = []
        for index, (truth, shape) in enumerate(zip(known, batch.shapes, strict=True)):
            proposals = self._propose(index, scores, codes, anchors, shape)
            drawn.append(draw_proposals(proposals.boxes, truth, settings, rng))
        return parts | region_losses(self.roi_heads, levels, drawn, known, settings, criteria)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights under the names of today or of 2019; see `coco.with_current_names`."""
        own = {name: state_dict[name] for name in self.state_dict() if name in state_dict}
        return super().load_state_dict(with_current_names(state_dict) | own, strict, assign)


def backbone(architecture: MaskRCNNArchitecture) -> Backbone:
    """Build the backbone that an architecture names."""
    name, channels = architecture.backbone, architecture.channels
    is_light = name == "light"
    body = light_resnet(channels, architecture.widths) if is_light else resnet(name, channels, architecture.epsilon)
    return Backbone(body, architecture.width)


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
    return _with_pyramid("resnet50", num_classes, channels, weights, epsilon, settings)


def mask_rcnn_resnet101_fpn(
    num_classes: int = len(COCO_CLASSES),
    *,
    channels: int = 3,
    weights: str | Path | None = None,
    epsilon: float = 1e-5,
    **settings: Any,
) -> MaskRCNN:
    """Build the same network with ResNet-101, in eval mode: 17 more blocks at stride 16.

    Its publisher has no COCO weights of it, so `weights` is the path of a file that another training wrote, with the
    names that torchvision gives to the tensors; see `mask_rcnn_resnet50_fpn` for the rest.

    References
    ----------
    He et al. 2016, doi:10.1109/CVPR.2016.90
    """
    return _with_pyramid("resnet101", num_classes, channels, weights, epsilon, settings)


def _with_pyramid(
    name: Literal["resnet50", "resnet101"],
    num_classes: int,
    channels: int,
    weights: str | Path | None,
    epsilon: float,
    settings: dict[str, Any],
) -> MaskRCNN:
    if channels != 3:
        settings = no_normalization(channels) | settings
    architecture = MaskRCNNArchitecture(num_classes, channels, name, epsilon=epsilon, settings=settings)
    try:
        if num_classes == 1:
            raise ValueError("`num_classes` is 1, but the background counts, too: give 2 for one class of objects")
        check_architecture({"kind": "mask_rcnn", **asdict(architecture), "widths": list(architecture.widths)})
    except ValueError as error:
        raise ParameterError(
            f"mask_rcnn_{name}_fpn: {error}. See `models.mask_rcnn.config.Settings`.", "settings"
        ) from None
    model = MaskRCNN(architecture)
    if weights is not None:
        found = read_coco_weights(None if weights == "coco" else weights)
        check_tensors(found, model.state_dict(), weights)
        model.load_state_dict(found)
    return model.eval()


def light_architecture(
    num_classes: int, channels: int, diameter_px: float = 32, **settings: Any
) -> MaskRCNNArchitecture:
    """Return how to build a Mask R-CNN small enough to ship, for crowded images of objects of one usual size.

    Images are neither scaled nor normalised by the model itself. By default no number is limited, and masks are aligned
    to a fraction of a pixel; `settings` are fields of `Settings`.
    """
    unlimited = ("rpn_pre_nms_top_n_test", "rpn_post_nms_top_n_test", "box_detections_per_img")
    own: dict[str, Any] = dict.fromkeys(unlimited)
    own |= {"min_size": None, "anchor_sizes": sides_for(diameter_px), "is_aligned": True} | no_normalization(channels)
    return MaskRCNNArchitecture(num_classes, channels, "light", (32, 64, 128, 256), 96, 384, settings=own | settings)


def no_normalization(channels: int) -> dict[str, Any]:
    """Return the settings under which an image's channels are not normalised."""
    return {"image_mean": (0.0,) * channels, "image_std": (1.0,) * channels}
