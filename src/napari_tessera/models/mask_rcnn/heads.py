"""The heads of Mask R-CNN: what is at an anchor, what is in a box, and which of its pixels belong to the object.

The names of layers are those of the published weights.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from napari_tessera.models.mask_rcnn.backbone import initialise, keep_spread


class ProposalHead(nn.Module):
    """Score every anchor, and tell how it has to move (Ren et al. 2017, doi:10.1109/TPAMI.2016.2577031).

    `width` are the channels of the pyramid, `anchors` those at each feature pixel.
    """

    def __init__(self, width: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(convolution(width, width))
        self.cls_logits = nn.Conv2d(width, anchors, 1)
        self.bbox_pred = nn.Conv2d(width, 4 * anchors, 1)
        initialise(self, partial(nn.init.normal_, std=0.01))

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the score (B, Y·X·A) and the code (B, Y·X·A, 4) of each level's anchors, in the anchors' order."""
        features = [self.conv(level) for level in levels]
        scores = [by_anchor(self.cls_logits(each), 1)[..., 0] for each in features]
        return scores, [by_anchor(self.bbox_pred(each), 4) for each in features]


def by_anchor(maps: Tensor, parts: int) -> Tensor:
    """Reorder (B, A·parts, Y, X) to (B, Y·X·A, parts)."""
    batch, _, height, width = maps.shape
    maps = maps.reshape(batch, -1, parts, height, width)
    return maps.permute(0, 3, 4, 1, 2).reshape(batch, -1, parts)


def convolution(entering: int, leaving: int) -> nn.Sequential:
    """Convolve with 3×3 kernels and rectify."""
    return nn.Sequential(nn.Conv2d(entering, leaving, 3, padding=1), nn.ReLU(inplace=True))


class BoxHead(nn.Module):
    """Two fully connected layers over the pooled features of a box, `entering` in all."""

    def __init__(self, entering: int, width: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(entering, width)
        self.fc7 = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> Tensor:
        """Turn (N, C, size, size) into (N, width)."""
        return self.fc7(self.fc6(pooled.flatten(1)).relu()).relu()


class BoxPredictor(nn.Module):
    """The class of a box, and how it has to move if it is of that class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, classes)
        self.bbox_pred = nn.Linear(width, 4 * classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (N, K) and the codes (N, K, 4) of features (N, width); class 0 is the background."""
        scores = self.cls_score(features)
        return scores, self.bbox_pred(features).reshape(*scores.shape, 4)


class MaskPredictor(nn.Module):
    """Double the resolution, and score every pixel for every class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(width, width, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(width, classes, 1)
        initialise(self, keep_spread)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, width, size, size) into scores (N, K, 2·size, 2·size)."""
        return self.mask_fcn_logits(self.conv5_mask(features).relu())


class RegionHeads(nn.Module):
    """The heads that classify boxes and mark the pixels of their objects.

    `width` are the channels of the pyramid and of the mask head, `classes` include the background, and `box_size` are
    the rows and columns to which the features of a box are pooled for the box head.
    """

    def __init__(self, width: int, classes: int, box_width: int, box_size: int) -> None:
        super().__init__()
        self.box_head = BoxHead(width * box_size**2, box_width)
        self.box_predictor = BoxPredictor(box_width, classes)
        self.mask_head = nn.Sequential(*[convolution(width, width) for _ in range(4)])
        self.mask_predictor = MaskPredictor(width, classes)
        initialise(self.mask_head, keep_spread)

    def boxes(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores (N, K) and codes (N, K, 4) of pooled features."""
        return self.box_predictor(self.box_head(pooled))

    def masks(self, pooled: Tensor) -> Tensor:
        """Return mask scores (N, K, m, m) of pooled features."""
        return self.mask_predictor(self.mask_head(pooled))
