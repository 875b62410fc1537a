"""Images as a detection network takes them: normalised, scaled to the size it knows, and padded into one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_tessera.core.errors import InputError
from napari_tessera.models.mask_rcnn.config import Settings

STEP_PX = 32
"""Sides of a batch are multiples of the coarsest stride of the backbone."""


@dataclass(frozen=True)
class ImageBatch:
    """Images of different sizes in one tensor."""

    pixels: Tensor  # (B, C, Y, X), normalised; 0 where an image is padded, below and to the right
    shapes: tuple[tuple[int, int], ...]  # of each image as scaled, without padding
    original: tuple[tuple[int, int], ...]  # of each image as given

    def growth(self, index: int) -> tuple[float, float]:
        """Return scaled over given pixels of one image along y and x."""
        (height, width), (old_height, old_width) = self.shapes[index], self.original[index]
        return height / old_height, width / old_width


def check_images(images: Sequence[Tensor], n_channels: int) -> None:
    """Raise an `InputError` that names the first image that a detection network cannot take."""
    if not isinstance(images, Sequence | Tensor):
        raise InputError(f"A list of images is needed, each a tensor (C, Y, X), not a {type(images).__name__}.")
    for number, image in enumerate(images):
        if not isinstance(image, Tensor):
            raise InputError(
                f"Image {number} is a {type(image).__name__}, but a tensor is needed: torch.from_numpy(image).float()."
            )
        if image.ndim != 3 or image.shape[0] != n_channels or 0 in image.shape:
            raise InputError(
                f"Image {number} has shape {tuple(image.shape)}, but the network needs ({n_channels}, Y, X): channels "
                "first, no batch axis, and at least one pixel."
            )
        if not image.is_floating_point():
            raise InputError(f"Image {number} is of type {image.dtype}, but floats from 0 to 1 are needed.")


def image_batch(images: Sequence[Tensor], settings: Settings) -> ImageBatch:
    """Normalise, scale and pad images, one or more, each (C, Y, X)."""
    scaled = [scale(normalise(image, settings), settings) for image in images]
    height, width = (max(image.shape[axis] for image in scaled) for axis in (-2, -1))
    shape = (height + -height % STEP_PX, width + -width % STEP_PX)
    pixels = scaled[0].new_zeros(len(scaled), scaled[0].shape[0], *shape)
    for place, image in zip(pixels, scaled, strict=True):
        place[:, : image.shape[-2], : image.shape[-1]] = image
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    return ImageBatch(pixels, tuple(map(plane_shape, scaled)), tuple(map(plane_shape, images)))


def normalise(image: Tensor, settings: Settings) -> Tensor:
    """Subtract each channel's mean and divide by its spread."""
    mean, spread = (image.new_tensor(each)[:, None, None] for each in (settings.image_mean, settings.image_std))
    return (image - mean) / spread


def scale(image: Tensor, settings: Settings) -> Tensor:
    """Scale an image (C, Y, X) to the size that the settings ask for."""
    factor = scale_factor(plane_shape(image), settings)
    if factor is None:
        return image
    return functional.interpolate(image[None], scale_factor=factor, mode="bilinear", recompute_scale_factor=True)[0]


def scale_factor(shape: Sequence[int], settings: Settings) -> float | None:
    """Return by how much an image of `shape` (Y, X) is scaled; None if not at all."""
    if settings.min_size is None:
        return None
    factor = settings.min_size / min(shape)
    return factor if settings.max_size is None else min(factor, settings.max_size / max(shape))


def plane_shape(image: Tensor) -> tuple[int, int]:
    """Return (Y, X) of an image (…, Y, X)."""
    return image.shape[-2], image.shape[-1]
