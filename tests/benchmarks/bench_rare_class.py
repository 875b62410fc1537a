"""A class on one pixel in a hundred: python bench_rare_class.py [--steps 120] [--seeds 5] [--picture FILE].

Small dim spots in noise, fully painted, learnt with four losses and several seeds; Dice of the spots on another image.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from imageio.v3 import imwrite
from skimage.segmentation import find_boundaries

import napari_tessera as tessera

SIDE_PX, SPOT_PX, CONTRAST, SHARE = 384, 4, 45, 0.01
LOSSES = {
    "plain cross-entropy": {"loss": "weighted-ce"},
    "weighted cross-entropy": {"loss": "weighted-ce", "class_weights": "balanced"},
    "Dice": {"loss": "dice"},
    "focal": {"loss": "focal"},
}
BACKGROUND, SPOT = 1, 2
CORNER, LARGER, GAP_PX = (slice(0, 130), slice(60, 160)), 3, 6


def spots(seed):
    """Draw dim discs in noise: uint8 image, and its paint."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    is_spot = np.zeros((SIDE_PX, SIDE_PX), bool)
    while is_spot.mean() < SHARE:
        cy, cx = rng.uniform(0, SIDE_PX, 2)
        is_spot |= (y - cy) ** 2 + (x - cx) ** 2 < SPOT_PX**2
    image = np.clip(rng.normal(100, 25, is_spot.shape) + CONTRAST * is_spot, 0, 255).astype(np.uint8)
    return image, np.where(is_spot, SPOT, BACKGROUND).astype(np.uint8)


def dice(truth, found):
    return 2 * (truth & found).sum() / max(1, truth.sum() + found.sum())


def learnt(settings, steps, seed, folder):
    """Train on one image, and mark the spots of another."""
    images, painted = zip(*(spots(10 * seed + number) for number in range(2)), strict=True)
    trained = tessera.fine_tune(
        list(images), list(painted), Path(folder) / "rare.safetensors", overwrite=True, start_from="nothing",
        task="classes", steps=steps, seed=seed, widths="8,16", validations=2, **settings,
    )  # fmt: skip
    image, paint = spots(10 * seed + 9)
    return image, paint == SPOT, tessera.unet(image, model=str(trained.path), output="classes") == 1


def picture(image, truth, found):
    """Draw the outlines of what is there (yellow) and what was found (pink), enlarged, with a gap to the next."""
    image, truth, found = (
        np.kron(each[CORNER], np.ones((LARGER, LARGER), each.dtype)) for each in (image, truth, found)
    )
    colours = np.repeat(image[..., None], 3, axis=-1)
    colours[find_boundaries(truth.astype(np.int32), mode="inner")] = 255, 210, 0
    colours[find_boundaries(found.astype(np.int32), mode="inner")] = 255, 0, 200
    return np.pad(colours, ((0, 0), (0, GAP_PX), (0, 0)), constant_values=255)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=120)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--picture", type=Path)
    chosen = options.parse_args()
    shown = []
    print("| loss | " + " | ".join(f"seed {seed}" for seed in range(chosen.seeds)) + " | mean |")
    print("| --- " * (chosen.seeds + 2) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in LOSSES.items():
            found = [learnt(settings, chosen.steps, seed, folder) for seed in range(chosen.seeds)]
            scores = [dice(*each[1:]) for each in found]
            shown.append(picture(*found[0]))
            print(f"| {name} | " + " | ".join(f"{each:.2f}" for each in [*scores, np.mean(scores)]) + " |", flush=True)
    if chosen.picture:
        imwrite(chosen.picture, np.concatenate(shown, axis=1))


if __name__ == "__main__":
    main()
