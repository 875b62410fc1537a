"""Weights of a Mask R-CNN with feature pyramid: the published ones with ResNet-50, and any with ResNet-101.

The classes of the COCO data set (Lin et al. 2014, doi:10.1007/978-3-319-10602-1_48), by their numbers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlretrieve

import torch
from platformdirs import user_cache_path
from torch import Tensor

from napari_tessera.core.atomic_writes import written_together
from napari_tessera.core.errors import FileError

_NAMES = """
background, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire
hydrant, –, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
zebra, giraffe, –, backpack, umbrella, –, –, handbag, tie, suitcase, frisbee, skis, snowboard,
sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, –,
wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot
dog, pizza, donut, cake, chair, couch, potted plant, bed, –, dining table, –, –, toilet, –, tv,
laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, –, book,
clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO_CLASSES = tuple(" ".join(_NAMES.split()).split(", "))
"""91 names; 0 is the background, and a dash stands at numbers that the data set does not use."""


ADDRESS = "https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"
HASH = "bf2d0c1e"
"""First digits of the file's SHA-256, which its publisher put into its name."""

DEEPER, SCORES = "backbone.body.layer3.22.conv1.weight", "roi_heads.box_predictor.cls_score.weight"
"""A tensor that ResNet-101 has and ResNet-50 has not, and one with a row for each class."""

RENAMED = (
    (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1"),
    (r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
    (r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$", lambda found: _mask_layer(found[1], found[2])),
)


def _mask_layer(number: str, part: str) -> str:
    return f"roi_heads.mask_head.{int(number) - 1}.0.{part}"


def with_current_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights saved under the names of 2019, as the published ones are, to the names of today.

    Names of today stay; counters of batch normalisation, which is frozen here, are dropped.
    """
    return {_current(name): each for name, each in weights.items() if not name.endswith("num_batches_tracked")}


def _current(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def read_coco_weights(path: str | Path | None = None) -> dict[str, Tensor]:
    """Read weights from `coco_file`, with today's names; no code in the file is run."""
    return with_current_names(torch.load(coco_file(path), map_location="cpu", weights_only=True))


def check_tensors(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], file: str | Path) -> None:
    """Raise a FileError that names the first tensor that weights lack, or have in another shape."""
    for name, each in wanted.items():
        if name not in weights or weights[name].shape != each.shape:
            raise FileError(
                f"{file} has no tensor {name} of the shape {tuple(each.shape)}. Give the weights of such a Mask R-CNN, "
                "with the names that torchvision gives to its tensors."
            )


def coco_file(path: str | Path | None = None) -> Path:
    """Return the file of the published weights, after making sure that it is that, or one with ResNet-101.

    Without a `path` it is downloaded once (170 MB) and kept in the user's cache folder.

    Raises
    ------
    FileError
        If the file is missing, is neither, or cannot be downloaded.
    """
    file = _downloaded() if path is None else Path(path)
    if not file.is_file():
        raise FileError(f"There is no file {file}. Download {ADDRESS}, and give the path of the file.")
    _check(file)
    return file


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check(file: Path) -> None:
    found = digest_of(file)
    if not found.startswith(HASH) and not _has_resnet101(file):
        raise FileError(
            f"{file} is not the published file: its SHA-256 begins with {found[:8]}, not with {HASH}. "
            f"It may be damaged. Delete it and download {ADDRESS} again, or give a file of a Mask R-CNN with "
            "ResNet-101, whose weights may be any."
        )


def _has_resnet101(file: Path) -> bool:
    """Return whether a file holds the tensors of a Mask R-CNN with ResNet-101; their values are not read."""
    try:
        found = torch.load(file, map_location="meta", weights_only=True)
    except Exception:  # torch raises whatever a damaged file leads to
        return False
    if not isinstance(found, Mapping) or not {DEEPER, SCORES} <= found.keys():
        return False
    scores = found[SCORES]
    return all(isinstance(each, Tensor) for each in found.values()) and scores.ndim == 2 and len(scores) > 1


def _downloaded() -> Path:
    file = user_cache_path("napari-tessera") / ADDRESS.rsplit("/", 1)[-1]
    if file.is_file():
        return file
    with written_together([file], overwrite=True) as (part,):
        try:
            urlretrieve(ADDRESS, part)
        except (URLError, OSError) as error:
            raise FileError(
                f"The weights could not be downloaded ({error}). "
                f"Download {ADDRESS} with a browser, and give the path of the file."
            ) from error
        _check(part)
    return file
