"""Run networks on 100 images without what they find: python bench_foreign_images.py --data FOLDER --method unet.

Constants, noise, gradients, stripes, checkerboards, writing, photographs, streets, retinas. Right is an image without
objects, or a note that names the cause. With --nuclei also: how many images of nuclei (split val) have such a note.
"""

from __future__ import annotations

import csv
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from imageio.v3 import imread
from nuclei import add_folder_option, image_and_truth
from nuclei_table import rows_of
from scipy import ndimage
from skimage import data as samples
from skimage.util import img_as_ubyte

import napari_tessera as tessera

SIDE = 256
NOTE = re.compile(r"does not look like|one value|no contrast", re.IGNORECASE)
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "clock", "coffee", "colorwheel", "grass", "gravel", "horse", "logo",
    "page", "rocket", "text", "shepp_logan_phantom",
)  # fmt: skip


def synthetic(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Make 56 images that hold nothing: constants, noise, gradients, stripes, checkerboards and writing."""
    shape = (SIDE, SIDE)
    y, x = np.mgrid[:SIDE, :SIDE]
    for value in (0, 1, 100, 255):
        yield f"constant {value}", np.full(shape, value, np.uint8)
    for sigma in (0, 0.7, 1.5, 3):
        for _ in range(3):
            yield f"gaussian noise, blur {sigma}", ndimage.gaussian_filter(rng.normal(100, 10, shape), sigma)
    for rate in (0.05, 0.5, 3, 20, 100):
        for _ in range(2):
            yield f"Poisson noise {rate}", rng.poisson(rate, shape).astype(np.uint16)
    for noise in (0, 2, 10):
        for angle in (0.3, 1.1):
            yield (
                f"gradient, noise {noise}",
                200 * (np.cos(angle) * x + np.sin(angle) * y) / SIDE + rng.normal(0, 1, shape) * noise,
            )
    for width in (4, 10, 25, 60):
        angle = rng.uniform(0, np.pi)
        wave = np.cos(angle) * x + np.sin(angle) * y
        yield f"stripes {width}", 100 + 50 * np.sign(np.sin(np.pi * wave / width)) + rng.normal(0, 3, shape)
        yield f"waves {width}", 100 + 50 * np.sin(np.pi * wave / width) + rng.normal(0, 3, shape)
    for width in (3, 8, 16, 32, 64, 100):
        yield f"checkerboard {width}", (255 * ((x // width + y // width) % 2)).astype(np.uint8)
    page, text = samples.page(), samples.text()
    for number in range(5):
        top, left = rng.integers(0, 40), rng.integers(0, 100)
        part = (page if number % 2 else text)[top : top + 128, left : left + 256]
        yield f"writing {number}", ndimage.zoom(part, (1, 1.5)[number % 2], order=1)
    for number in range(5):
        marks = rng.random((SIDE // 4, SIDE // 4)) < 0.25
        yield f"marks {number}", np.kron(marks, np.ones((4, 4))) * 200 + 20 + rng.normal(0, 2, shape)


def foreign_images(data: Path, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the image of each of 100."""
    rng = np.random.default_rng(seed)
    yield from synthetic(rng)
    for number in range(24):
        name = PHOTOGRAPHS[number % len(PHOTOGRAPHS)]
        image = img_as_ubyte(getattr(samples, name)())
        yield name, crop(image[..., :3] if image.ndim == 3 else image, rng)
    for folder, count in (("regions_bsds500", 5), ("street_camvid", 12), ("retina_vessels_drive", 3)):
        with open(data / folder / "index.csv", newline="") as file:
            names = [row["name"] for row in csv.DictReader(file)]
        for name in names[:: max(1, len(names) // count)][:count]:
            yield f"{folder} {name}", crop(imread(data / folder / "images" / name), rng)


def crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut out a part of at most 320 pixels on each side."""
    starts = [rng.integers(0, max(1, side - 320)) for side in image.shape[:2]]
    return image[starts[0] : starts[0] + 320, starts[1] : starts[1] + 320]


def run(method: str, image: np.ndarray) -> tuple[int, str]:
    """Return the number of objects, and the notes."""
    try:
        result = tessera.segment(method, image, axes="YXC"[: image.ndim])
    except tessera.TesseraError as error:
        return 0, f"refused: {error}"
    return int(np.max(result.labels)), " ".join(result.notes)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add_folder_option(parser)
    parser.add_argument("--method", choices=["unet", "mask_rcnn"], default="unet")
    parser.add_argument(
        "--nuclei", action="store_true", help="also the images of nuclei, which should have no such note"
    )
    chosen = parser.parse_args()
    wrong = total = 0
    for name, image in foreign_images(chosen.data):
        count, notes = run(chosen.method, image)
        total += 1
        if count and not NOTE.search(notes):
            wrong += 1
            print(f"{name}: {count} objects and no note")
    print(f"{chosen.method}: {wrong} of {total} with objects and no note")
    if chosen.nuclei:
        rows = rows_of(chosen.data, "val")
        noted = [
            row["name"]
            for row in rows
            if NOTE.search(run(chosen.method, image_and_truth(chosen.data, row["name"])[0])[1])
        ]
        print(f"{chosen.method}: {len(noted)} of {len(rows)} images of nuclei with the note: {', '.join(noted)}")


if __name__ == "__main__":
    main()
