"""A small real training for benchmarks: discs on a noisy ground, and the command that learns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WIDTHS, PATCH_PX, BATCH, VALIDATIONS = "8,16,32", 32, 2, 4


def write_discs(folder: Path, count: int = 8, side_px: int = 64) -> None:
    """Write images and labels as PNG into the folders `images` and `labels`."""
    y, x = np.mgrid[:side_px, :side_px]
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        labels = np.zeros((side_px, side_px), np.uint16)
        for disc, (cy, cx) in enumerate(np.ndindex(side_px // 16, side_px // 16), start=1):
            labels[(y - 16 * cy - 8) ** 2 + (x - 16 * cx - 8) ** 2 < rng.uniform(4, 7) ** 2] = disc
        image = np.clip(rng.normal(20, 4, labels.shape) + 120 * (labels > 0), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")


def command(folder: Path, out: Path, steps: int, seed: int = 0) -> list[str]:
    """Return the arguments of `tessera`."""
    settings = {
        "steps": steps, "widths": WIDTHS, "patch": PATCH_PX, "batch": BATCH, "validations": VALIDATIONS,
        "validation": 0.25, "threads": 1, "seed": seed, "save-every": 0, "device": "cpu",
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return ["train", str(folder / "images"), str(folder / "labels"), "-o", str(out), "--quiet", *options]


def tensors_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of every tensor of a model or checkpoint; damaged files raise an error."""
    from napari_tessera.models.weights import read_tensors

    return {name: value.numpy().tobytes() for name, value in sorted(read_tensors(path)[0].items())}
