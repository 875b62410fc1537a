"""Membranes from scribbles: python bench_membrane_scribbles.py --data FOLDER [--seconds 15,30,60,120] [--full] [--cpu].

FOLDER holds em_membrane/ (see docs/data.md). Three slices get strokes on at most 1 % of their pixels; all others that
are at least three slices away are scored: F1 of membrane. A random forest on scikit-image's multiscale features learns
from the same strokes. `--full`: the three slices are painted fully, ten minutes; F1, and the foreground-restricted Rand
score of the cells that the membranes part. `--set NAME=VALUE` changes a setting of the training. On a machine that
others use, too, `--cpu` takes as many steps as fit into the time of two cores of its own, counted as 1.6 times that of
one.
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
TRIED, SETTLED = 40, 10
SHARE_OF_LEARNING, GAIN_OF_TWO = 0.85, 1.6
"""Share of the time that goes into steps, and how much faster two cores are than one."""


def slices(data):
    folder = Path(data) / "em_membrane"
    names = sorted(path.name for path in (folder / "images").glob("*.png"))
    return [np.stack([imread(folder / kind / name) for name in names]) for kind in ("images", "labels")]


def f1(truth, found):
    both = ((truth == MEMBRANE) & found).sum()
    return 2 * both / ((truth == MEMBRANE).sum() + found.sum())


def forest(images, paint, scored):
    """Train a random forest on the strokes, and mark membrane in the scored slices; its seconds of training."""
    start, start_cpu = time.perf_counter(), time.process_time()
    values = np.concatenate([features(images[z])[paint[z] > 0] for z in PAINTED])
    truth = np.concatenate([paint[z][paint[z] > 0] for z in PAINTED])
    model = RandomForestClassifier(n_estimators=100, n_jobs=-1, random_state=0).fit(values, truth)
    seconds = time.perf_counter() - start, time.process_time() - start_cpu
    found = [model.predict(features(images[z]).reshape(-1, values.shape[1])).reshape(images[z].shape) for z in scored]
    return np.stack(found) == MEMBRANE, seconds


def features(image):
    return multiscale_basic_features(image, intensity=True, edges=True, texture=True, sigma_min=1, sigma_max=16)


def network(images, paint, scored, settings, folder):
    """Train on the strokes, and mark membrane in the scored slices; seconds of training, and of the processor."""
    start, start_cpu = time.perf_counter(), time.process_time()
    trained = learnt(images, paint, settings, folder)
    spent = time.perf_counter() - start, time.process_time() - start_cpu
    found = [tessera.unet(images[z], model=str(trained.path), output="classes") for z in scored]
    return np.stack(found) == 1, spent, trained.header["training"]


def learnt(images, paint, settings, folder, on_progress=None):
    return tessera.fine_tune(
        [images[z] for z in PAINTED], [paint[z] for z in PAINTED], Path(folder) / "membrane.safetensors",
        task="classes", classes="cell,membrane", overwrite=True, restart=True,
        on_progress=on_progress, **settings,
    )  # fmt: skip


def steps_in(seconds, images, paint, settings, folder):
    """Return how many steps fit into the time of two cores, by the processor's time that a few of them take."""
    at = []

    def look(progress):
        if "loss" in (progress.data or {}):
            at.append(time.process_time())

    learnt(images, paint, settings | {"threads": 1, "steps": TRIED, "validations": 1}, folder, look)
    of_step = (at[-1] - at[SETTLED]) / (len(at) - 1 - SETTLED)
    return int(SHARE_OF_LEARNING * GAIN_OF_TWO * seconds / of_step)


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
    options.add_argument("--seconds")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--every", type=int, default=1, help="score every so many of the slices")
    options.add_argument("--cpu", action="store_true")
    options.add_argument("--full", action="store_true")
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    chosen = options.parse_args()
    settings = {name: as_value(value) for name, value in (each.split("=", 1) for each in chosen.set)}
    images, labels = slices(chosen.data)
    scored = [z for z in range(len(images)) if min(abs(z - each) for each in PAINTED) >= APART]
    scored = scored[:: chosen.every]
    rng = np.random.default_rng(chosen.seed)
    paint = {z: labels[z] if chosen.full else scribble(labels[z], SHARE, rng) for z in PAINTED}
    share = np.mean([(each > 0).mean() for each in paint.values()])
    print(f"painted: {share:.2%} of slices {PAINTED}; scored: {len(scored)} slices, {APART} or more away")
    print("| | seconds | of the processor | F1 of membrane | Rand score |\n| --- | --- | --- | --- | --- |")
    if not chosen.full:
        found, seconds = forest(images, paint, scored)
        report("random forest", seconds, labels[scored], found)
    with tempfile.TemporaryDirectory() as folder:
        for seconds in [
            int(each) for each in (chosen.seconds or ("600" if chosen.full else "15,30,60,120")).split(",")
        ]:
            length = {"minutes": seconds / 60}
            if chosen.cpu:
                steps = steps_in(seconds, images, paint, settings, folder)
                length = {"steps": steps, "threads": 1}
            found, spent, record = network(images, paint, scored, length | settings, folder)
            report(f"U-Net, {seconds} s, {record['steps']} steps", spent, labels[scored], found)


def as_value(text):
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def report(name, spent, truth, found):
    seconds = " | ".join(f"{each:.0f}" for each in spent)
    print(f"| {name} | {seconds} | {f1(truth, found):.3f} | {rand_score(truth, found):.3f} |", flush=True)


if __name__ == "__main__":
    main()
