"""A new kind of image, learnt from a few examples: python bench_few_shot.py --data FOLDER [--sets NAME …].

FOLDER holds the sets (see docs/data.md). Of each set in turn, images of `train` are annotated: 1, 3 and 10 objects in
each of two images, with the background close to them, and all objects of one and of five images. Each time a model is
trained on the annotation, as by a user, and scored on `test` of the set, and on images of `val` of all other sets that
the model to start from has learnt. Printed is AP at 0.5, mean over images (and sets), before and after.

The model to start from should not know the set: {} in --start stands for the set's folder, as in
`cells-without-{}.safetensors`, trained on the table that `make_cells_table.py --leave-out` makes. `--choices 10`
repeats each training with other images and objects, and prints the mean.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_membrane_scribbles import as_value
from bench_models import SETS, images_of
from nuclei import add_folder_option, score
from scipy.ndimage import binary_dilation

import napari_tessera as tessera
from napari_tessera.models import registry
from napari_tessera.training.pretrained import read_start
from napari_tessera.training.rehearsal import known_kinds
from napari_tessera.training.settings import NOTHING, USUAL_STARTS, checked_settings

PAINTED_IMAGES, AROUND_PX = 2, 8
HEAD = "| set | annotated | steps | s | before | after | other sets before | after |\n|---|---|---|---|---|---|---|---|"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_folder_option(options)
    options.add_argument("--sets", nargs="*", choices=SETS, default=[name for name in SETS if "coelho" not in name])
    options.add_argument("--start", default=USUAL_STARTS["unet"], help="model to start from; {} stands for the set")
    options.add_argument("--objects", nargs="*", type=int, default=[1, 3, 10], help="annotated in each of two images")
    options.add_argument("--images", nargs="*", type=int, default=[1, 5], help="how many are fully annotated")
    options.add_argument("--split", default="test", choices=["val", "test"], help="what is scored; choose by `val`")
    options.add_argument("--most", type=int, default=4, help="images to score of each set, evenly spaced")
    options.add_argument("--choices", type=int, default=1, help="trainings of each case")
    options.add_argument("--minutes", type=float, default=3.0)
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the training")
    chosen = options.parse_args()
    settings = {name: as_value(value) for name, value in (each.split("=", 1) for each in chosen.set)}
    if not {"steps", "epochs"} & settings.keys():
        settings["minutes"] = chosen.minutes
    cases = [(PAINTED_IMAGES, count) for count in chosen.objects] + [(count, None) for count in chosen.images]
    print(HEAD, flush=True)
    for name in chosen.sets:
        start = chosen.start.format(SETS[name][0])
        own = some(list(images_of(chosen.data, name, chosen.split)), chosen.most)
        known = [each for each in sets_known_to(start) if each != name]
        others = [some(list(images_of(chosen.data, each, "val")), chosen.most) for each in known]
        before = mean_ap(own, start), of_sets(others, start)
        for case in cases:
            runs = [learnt(chosen, name, *case, start, settings, seed, own, others) for seed in range(chosen.choices)]
            print_line(name, case, before, np.mean(runs, axis=0))


def sets_known_to(model):
    """Return the sets of which a model has learnt images that can be rehearsed."""
    start = read_start(checked_settings({"start_from": model}))
    folders = {kind.split()[0] for kind in known_kinds(start)} if start is not None else set()
    return [name for name, (folder, *_) in SETS.items() if folder in folders]


def learnt(chosen, name, n_images, n_objects, start, settings, seed, own, others):
    """Annotate some images, train, and return the steps, the seconds, and the scores of the set and of the others."""
    rng = np.random.default_rng(seed)
    pairs = list(images_of(chosen.data, name, "train"))
    pairs = [pairs[index] for index in rng.permutation(len(pairs))[:n_images]]
    painted = [truth + 1 if n_objects is None else paint(truth, n_objects, rng) for _, truth in pairs]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        trained = tessera.fine_tune(
            [image for image, _ in pairs], painted, Path(folder) / "few.safetensors",
            start_from=start, **{"seed": seed} | settings,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        own_model = str(trained.path)
        return trained.header["training"]["steps"], seconds, mean_ap(own, own_model), of_sets(others, own_model)


def paint(truth, n_objects, rng):
    """Annotate some objects, and the background close to them."""
    chosen = np.isin(truth, rng.permutation(np.unique(truth[truth > 0]))[:n_objects])
    painted = np.where(chosen, truth + 1, 0)
    painted[binary_dilation(chosen, iterations=AROUND_PX) & (truth == 0)] = 1
    return painted


def some(pairs, most):
    """Return up to `most` images, evenly spaced."""
    return [pairs[int(index)] for index in np.unique(np.linspace(0, len(pairs) - 1, min(most, len(pairs))).round())]


def mean_ap(pairs, model):
    """Return the mean AP at 0.5 of images, as a user would get it; 0 without a model."""
    if model == NOTHING:
        return 0.0
    found = [score(truth, segmented(image, model)) for image, truth in pairs]
    return float(np.mean([hits / max(1, hits + extra + missed) for hits, extra, missed in found]))


def segmented(image, model):
    """Segment an image with default settings."""
    channels = {"axes": "YXC"} if image.ndim == 3 else {}
    return tessera.segment(registry.find(model).kind, image, model=model, **channels).labels


def of_sets(sets, model):
    """Return the mean over sets of their mean AP; NaN without other sets."""
    return float(np.mean([mean_ap(pairs, model) for pairs in sets])) if sets else float("nan")


def print_line(name, case, before, means):
    """Print a line of the table."""
    n_images, n_objects = case
    what = f"{n_images} images, all objects" if n_objects is None else f"{n_objects} objects in {n_images} images"
    steps, seconds, own, others = means
    cells = [name, what, f"{steps:.0f}", f"{seconds:.0f}"]
    cells += [f"{value:.3f}" for value in (before[0], own, before[1], others)]
    print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
