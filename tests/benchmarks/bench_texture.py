"""Region growing by intensity, texture and both: python bench_texture.py [--data FOLDER --set NAME --split SPLIT].

Without --data: pairs of textures of equal mean and variance, a seed in each; the lower Dice, mean over three draws.
With it, FOLDER holds regions_bsds500/, or another set NAME with images/, labels/ and index.csv (see docs/data.md). Each
region of at least 400 pixels has a seed at its innermost point. "best" is the best IoU over the tolerances 0.05, 0.10 …
0.6 with the region under the seed, of any person who drew the picture; "default" has the default tolerance; "competing"
has all seeds of a picture at once. Means over the regions, and seconds per picture with all seeds competing.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from imageio.v3 import imread
from scipy import ndimage

import napari_tessera as tessera
from napari_tessera.algorithms.pixel_features import chosen_channels, framed_features
from napari_tessera.algorithms.seeded_growing import grow_once, lay_out, read_seeds
from napari_tessera.core.jobs import run_job

FEATURES = ("intensity", "texture", "both")
TOLERANCES, DEFAULT = np.arange(1, 13) / 20, 0.1
SMALLEST_PX = 400


def standard(values):
    return (values - values.mean()) / values.std()


def wave(places, period):
    return np.where(places % period < period / 2, 1.0, -1.0)


def textures(size, seed):
    """Return pairs of textures; those that are regular have noise added."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size))
    white, blurred = rng.normal(size=(2, size, size))
    pairs = {
        "white noise, blurred noise (σ 2)": (white, ndimage.gaussian_filter(blurred, 2)),
        "stripes of 8 px, upright and level": (wave(x, 8), wave(y, 8)),
        "stripes of 9 px, both diagonals": (wave(x + y, 9), wave(x - y, 9)),
        "stripes of 6 and 12 px": (wave(x, 6), wave(x, 12)),
        "checkerboards of 4 and 8 px": (wave(x, 8) * wave(y, 8), wave(x, 16) * wave(y, 16)),
        "checkerboard of 4 px, stripes of 8 px": (wave(x, 8) * wave(y, 8), wave(x, 8)),
    }
    for name, pair in pairs.items():
        noise = 0.3 * rng.normal(size=(2, size, size)) * (name[:5] != "white")
        yield name, [standard(texture + more) for texture, more in zip(pair, noise, strict=True)]


def borders(size):
    """Return masks of the first texture: left of a wavy line, and a disc."""
    y, x = np.indices((size, size))
    middle = size / 2
    yield "line", x + 10 * np.sin(y / 12) < middle, [[middle, size / 4], [middle, 3 * size / 4]]
    yield "disc", np.hypot(y - middle, x - middle) < 0.3 * size, [[middle, middle], [8, 8]]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def lower_dice(image, is_first, seeds, **settings):
    labels, table = tessera.region_growing(image, np.array(seeds), **settings)
    label_of = dict(zip(table["seed"], table["label"], strict=True))
    return min(dice(labels == label_of[1], is_first), dice(labels == label_of[2], ~is_first))


def print_textures(size=160, draws=3):
    rules = {"tolerance": {"tolerance": 0.3}, "adaptive": {}, "competing": {}}
    print("| textures | border |", " | ".join(f"{f}, {r}" for f in ("intensity", "texture") for r in rules), "|")
    rows = {}
    for draw in range(draws):
        for name, (first, second) in textures(size, draw):
            for border, is_first, seeds in borders(size):
                image = np.where(is_first, first, second)
                rows.setdefault((name, border), []).append(
                    [
                        lower_dice(image, is_first, seeds, criterion=rule, feature=feature, **more)
                        for feature in ("intensity", "texture")
                        for rule, more in rules.items()
                    ]
                )
    for (name, border), scores in rows.items():
        print(f"| {name} | {border} |", " | ".join(f"{score:.2f}" for score in np.mean(scores, axis=0)), "|")


def pictures(folder, split):
    """Yield each picture of a split, its regions, and what each person drew."""
    with open(folder / "index.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["split"] == split]
    for name in names:
        drawn = sorted(folder.glob(f"labels_annotator*/{name}")) or [folder / "labels" / name]
        yield imread(folder / "images" / name), imread(folder / "labels" / name), [imread(path) for path in drawn]


def regions(labels):
    """Yield the innermost point of each connected region."""
    for value in np.unique(labels):
        parts, count = ndimage.label(labels == value)
        for number in range(1, count + 1):
            part = parts == number
            if part.sum() >= SMALLEST_PX:
                depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
                yield np.unravel_index(depth.argmax(), depth.shape)


def under(seed, labels):
    """Return the connected region under a seed."""
    parts, _ = ndimage.label(labels == labels[seed])
    return parts == parts[seed]


def best_overlap(found, truths):
    return max((found & truth).sum() / (found | truth).sum() for truth in truths)


def overlaps(values, seed, truths):
    """Return the best IoU over the tolerances, and that of the default."""
    seeds, largest = read_seeds(np.array([seed]), truths[0].shape), truths[0].size
    ious = []
    for tolerance in TOLERANCES:
        ground = lay_out(values, seeds, connectivity=1)
        run_job(grow_once(ground, tolerance, largest))
        ious.append(best_overlap(ground.labels[1:-1, 1:-1] > 0, truths))
    return max(ious), ious[list(TOLERANCES).index(DEFAULT)]


def print_regions(folder, split, radius):
    print("| feature | regions | best | default | competing | seconds |")
    for feature in FEATURES:
        settings = {"feature": feature, "sigma": 1.0, "texture_radius": radius}
        found, seconds = [], []
        for image, labels, drawn in pictures(folder, split):
            seeds = list(regions(labels))
            start = time.perf_counter()
            together = tessera.region_growing(image, np.array(seeds, float), criterion="competing", **settings)[0]
            seconds.append(time.perf_counter() - start)
            axis = 2 if image.ndim == 3 else None
            values = run_job(framed_features(chosen_channels(image, axis, None, ""), **settings))
            for seed in seeds:
                truths = [under(seed, labels) for labels in drawn]
                found.append([*overlaps(values, seed, truths), best_overlap(together == together[seed], truths)])
        figures = " | ".join(f"{score:.3f}" for score in np.mean(found, axis=0))
        print(f"| {feature} | {len(found)} | {figures} | {np.median(seconds):.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds the set")
    parser.add_argument("--set", default="regions_bsds500")
    parser.add_argument("--split", default="test")
    parser.add_argument("--radius", type=int, default=8)
    options = parser.parse_args()
    if options.data:
        print_regions(options.data / options.set, options.split, options.radius)
    else:
        print_textures()
