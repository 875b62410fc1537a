"""Membranes from scribbles: python bench_membrane_scribbles.py --data FOLDER [--seconds 15,30,60,120] [--full].

FOLDER holds em_membrane/ (see docs/data.md). Three slices get strokes on at most 1 % of their pixels; all others that
are at least three slices away are scored: F1 of membrane. A random forest on scikit-image's multiscale features learns
from the same strokes. `--full`: the three slices are painted fully, ten minutes; F1, and the foreground-restricted Rand
score of the cells that the membranes part. `--set NAME=VALUE` changes a setting of the training.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from imageio.v3 import imread
from nuclei import add_folder_option
from scipy import ndimage
from scribbles import scribble
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

import napari_tessera as tessera

PAINTED = (4, 12, 20)
APART = 3
SHARE = 0.0095
CELL, MEMBRANE = 1, 2


def slices(data):
    folder = Path(data) / "em_membrane"
    names = sorted(path.name for path in (folder / "images").glob("*.png"))
    return [np.stack([imread(folder / kind / name) for name in names]) for kind in ("images", "labels")]


def f1(truth, found):
    both = ((truth == MEMBRANE) & found).sum()
    return 2 * both / ((truth == MEMBRANE).sum() + found.sum())


def forest(images, paint, scored):
    """Train a random forest on the strokes, and mark membrane in the scored slices; its seconds of training."""
    start = time.perf_counter()
    values = np.concatenate([features(images[z])[paint[z] > 0] for z in PAINTED])
    truth = np.concatenate([paint[z][paint[z] > 0] for z in PAINTED])
    model = RandomForestClassifier(n_estimators=100, n_jobs=-1, random_state=0).fit(values, truth)
    seconds = time.perf_counter() - start
    found = [model.predict(features(images[z]).reshape(-1, values.shape[1])).reshape(images[z].shape) for z in scored]
    return np.stack(found) == MEMBRANE, seconds


def features(image):
    return multiscale_basic_features(image, intensity=True, edges=True, texture=True, sigma_min=1, sigma_max=16)


def network(images, paint, scored, seconds, settings, folder):
    """Train on the strokes for so long, and mark membrane in the scored slices; its seconds of training."""
    start = time.perf_counter()
    trained = tessera.fine_tune(
        [images[z] for z in PAINTED], [paint[z] for z in PAINTED], Path(folder) / f"{seconds}.safetensors",
        task="classes", classes="cell,membrane", **{"minutes": seconds / 60} | settings,
    )  # fmt: skip
    spent = time.perf_counter() - start
    found = [tessera.unet(images[z], model=str(trained.path), output="classes") for z in scored]
    return np.stack(found) == 1, spent, trained.header["training"]


def rand_score(truth, found):
    """Mean foreground-restricted Rand score of cells parted by membrane (doi:10.3389/fnana.2015.00142)."""
    return float(np.mean([_rand_of_slice(*each) for each in zip(truth, found, strict=True)]))


def _rand_of_slice(truth, found):
    own, _ = ndimage.label(truth == CELL)
    other, _ = ndimage.label(~found)
    inside = own > 0
    _, both = np.unique(np.stack([own[inside], other[inside]]), axis=1, return_counts=True)
    share = both / both.sum()
    by_own = np.bincount(own[inside]) / inside.sum()
    by_other = np.bincount(other[inside]) / inside.sum()
    return (share**2).sum() / (0.5 * (by_own**2).sum() + 0.5 * (by_other**2).sum())


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add_folder_option(options)
    options.add_argument("--seconds", default="15,30,60,120")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--full", action="store_true")
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    chosen = options.parse_args()
    settings = {name: as_value(value) for name, value in (each.split("=", 1) for each in chosen.set)}
    images, labels = slices(chosen.data)
    scored = [z for z in range(len(images)) if min(abs(z - each) for each in PAINTED) >= APART]
    rng = np.random.default_rng(chosen.seed)
    paint = {z: labels[z] if chosen.full else scribble(labels[z], SHARE, rng) for z in PAINTED}
    share = np.mean([(each > 0).mean() for each in paint.values()])
    print(f"painted: {share:.2%} of slices {PAINTED}; scored: {len(scored)} slices, {APART} or more away")
    print("| | seconds | F1 of membrane | Rand score |\n| --- | --- | --- | --- |")
    if not chosen.full:
        found, seconds = forest(images, paint, scored)
        report("random forest", seconds, labels[scored], found)
    with tempfile.TemporaryDirectory() as folder:
        for seconds in [600] if chosen.full else [int(each) for each in chosen.seconds.split(",")]:
            found, spent, record = network(images, paint, scored, seconds, settings, folder)
            report(f"U-Net, {seconds} s, {record['steps']} steps", spent, labels[scored], found)


def as_value(text):
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def report(name, seconds, truth, found):
    print(f"| {name} | {seconds:.0f} | {f1(truth, found):.3f} | {rand_score(truth, found):.3f} |", flush=True)


if __name__ == "__main__":
    main()
