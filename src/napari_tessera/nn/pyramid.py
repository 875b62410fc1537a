"""The feature pyramid of Lin et al. 2017 (doi:10.1109/CVPR.2017.106): fine features that know the coarse ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from napari_tessera.nn.resnet import ResNet


class FeaturePyramid(nn.Module):
    """Carry features from coarse to fine levels, and add one level more, half as fine as the coarsest.

    Parameters
    ----------
    entering : sequence of int
        Channels of each level that comes in, finest first.
    width : int
        Channels of every level that goes out.
    """

    def __init__(self, entering: Sequence[int], width: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(each, width, 1)) for each in entering)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in entering)
        for name, each in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(each)
            else:
                nn.init.kaiming_uniform_(each, a=1)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return one level more than came in, each (B, width, Y, X), finest first."""
        carried = self.inner_blocks[-1](levels[-1])
        pyramid = [self.layer_blocks[-1](carried)]
        for index in reversed(range(len(levels) - 1)):
            beside = self.inner_blocks[index](levels[index])
            carried = beside + functional.interpolate(carried, size=beside.shape[-2:], mode="nearest")
            pyramid.insert(0, self.layer_blocks[index](carried))
        return [*pyramid, pyramid[-1][..., ::2, ::2]]


class Backbone(nn.Module):
    """A network that gives features at several resolutions, and the pyramid on top of it.

    Parameters
    ----------
    body : ResNet
    width : int
        Channels of the pyramid.
    """

    def __init__(self, body: ResNet, width: int = 256) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramid(body.leaving, width)
        self.width = width

    def forward(self, images: Tensor) -> list[Tensor]:
        """Turn (B, C, Y, X) images into the levels of the pyramid, finest first."""
        return self.fpn(self.body(images))
