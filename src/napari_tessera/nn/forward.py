"""Run an instance network on an image, rescaled so that its objects have the size the network knows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_tessera.nn.scores import PixelScores
from napari_tessera.nn.unet import UNet


@torch.inference_mode()
def predict_scores(net: UNet, channels: np.ndarray, factor: float, flips: bool = False) -> PixelScores:
    """Predict the scores of (C, Y, X) channels, at `factor` network pixels per image pixel, on the network's grid."""
    images = torch.from_numpy(np.ascontiguousarray(channels))[None]
    size = [max(1, round(side * factor)) for side in images.shape[-2:]]
    if size != list(images.shape[-2:]):
        images = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
    scores = padded_forward(net, images)
    if flips:
        scores = averaged_over_flips(net, images, scores)
    classes = scores["classes"].float().softmax(1)[0]
    return PixelScores(
        (1 - classes[0]).numpy(),
        classes[2].numpy(),
        scores["distance"][0, 0].float().clamp(0, 1).numpy(),
        scores["size"][0, 0].float().numpy(),
    )


def padded_forward(net: UNet, images: Tensor) -> dict[str, Tensor]:
    """Run the network on an image of any size: mirrored up to a whole number of steps, and cut back."""
    step = net.architecture.step
    height, width = images.shape[-2:]
    down, right = step + -(height + step) % step, step + -(width + step) % step
    fits = height > max(step, down) and width > max(step, right)
    padded = functional.pad(images, (step, right, step, down), mode="reflect" if fits else "replicate")
    scores = net(padded.contiguous(memory_format=torch.channels_last))
    return {name: each[..., step : step + height, step : step + width] for name, each in scores.items()}


def averaged_over_flips(net: UNet, images: Tensor, scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average with the scores of the image mirrored along y and x."""
    total = dict(scores)
    for axes in ((-1,), (-2,), (-2, -1)):
        for name, each in padded_forward(net, images.flip(axes)).items():
            total[name] = total[name] + each.flip(axes)
    return {name: each / 4 for name, each in total.items()}


def resize_scores(scores: PixelScores, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate the object probability to `shape`."""
    whole = torch.from_numpy(scores.object)[None, None]
    return functional.interpolate(whole, size=list(shape), mode="bilinear", antialias=True)[0, 0].numpy()


def to_image_grid(labels: np.ndarray, scores: PixelScores, shape: tuple[int, int], level: float) -> np.ndarray:
    """Bring labels on the network's grid to the image's, with the outline where the probability crosses `level`."""
    if labels.shape == tuple(shape):
        return labels
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * m / n, m - 1).astype(int) for n, m in zip(shape, labels.shape, strict=True)
    )
    from skimage.segmentation import expand_labels

    grown = expand_labels(labels, 2)[np.ix_(rows, columns)]
    return np.where(resize_scores(scores, shape) > level, grown, 0)
