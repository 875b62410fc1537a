"""How often a suggestion names the best model, and how honest its number is: bench_suggest_model.py --data FOLDER.

For each set, on the images of a split: how often the model suggested first is the best or second-best by its true AP
(IoU 0.5, whole image, default settings), how often "none fits" is said, and how far the confidence lies from the AP.
Then the same for 100 images without objects (bench_foreign_images.py), where "none fits" is right. With --fit: the
weights that turn agreement into confidence, from these very images; use it with train or val.
"""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_foreign_images import foreign_images
from nuclei import add_folder_option
from scipy.optimize import minimize
from scipy.special import expit

import napari_tessera as tessera
from napari_tessera.engine.suggest_model import ModelSuggestion

SETS = (
    "nuclei", "phase_cells_usiigaci", "yeast_phase", "yeast_brightfield_traps", "bacteria_fluo_ecoli",
    "em_chloroplasts", "em_axon_myelin",
)  # fmt: skip
LEAST_AP = 0.35
"""Where no model reaches it, "none fits" is right."""
IOU = 0.5


@dataclass(frozen=True)
class Tried:
    """What was suggested for an image, and the true AP of each of these models, in the same order."""

    suggestions: list[ModelSuggestion]
    aps: list[float]

    @property
    def is_best_or_second(self) -> bool:
        """Whether at most one model is better than the one suggested first."""
        return sum(ap > self.aps[0] for ap in self.aps) <= 1

    @property
    def can_any(self) -> bool:
        """Whether any model finds the objects."""
        return max(self.aps) >= LEAST_AP


def images_of(data: Path, name: str, split: str, every: int) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Yield images of a set, their truth and axes."""
    folder = data / name
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    for row in rows[::every]:
        file_name = row["name"] if "." in row["name"] else f"{row['name']}.png"
        picture = tessera.io.read_image(folder / "images" / file_name)
        truth = tessera.io.read_labels(folder / ("instances" if name == "em_axon_myelin" else "labels") / file_name)
        is_stack = row["channels"] not in ("1", "3", "4")
        channel_axis = int(np.argmin(picture.data.shape))
        axes = "CYX" if is_stack and channel_axis == 0 else "YXC"[: picture.data.ndim]
        yield np.asarray(picture.data), np.asarray(truth.data).astype(np.int32), axes


def try_image(image: np.ndarray, truth: np.ndarray, axes: str, network: str | None) -> Tried:
    """Suggest models for an image, and score each of them."""
    suggestions = tessera.suggest_model(image, axes=axes, network=network)
    aps = []
    for each in suggestions:
        labels = tessera.segment(each.network, image, axes=axes, model=each.model, measure=False).labels
        aps.append(float(tessera.evaluate(truth, labels, thresholds=(IOU,))["ap"]["0.50"]))
    return Tried(suggestions, aps)


def line(name: str, tried: list[Tried]) -> str:
    """Write a line of the table."""
    fitting = [each for each in tried if each.can_any]
    unfit = [each for each in tried if not each.can_any]
    named = np.mean([each.is_best_or_second for each in fitting]) if fitting else np.nan
    first = np.mean([each.aps[0] for each in tried])
    best = np.mean([max(each.aps) for each in tried])
    error = np.mean([abs(each.suggestions[0].confidence - each.aps[0]) for each in tried])
    denied = sum(not each.suggestions[0].fits for each in fitting)
    refused = sum(not each.suggestions[0].fits for each in unfit)
    cells = (
        name,
        len(tried),
        f"{named:.0%} of {len(fitting)}",
        f"{first:.2f} / {best:.2f}",
        f"{denied} of {len(fitting)}",
        f"{refused} of {len(unfit)}",
        f"{error:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def fitted_weights(tried: list[Tried]) -> np.ndarray:
    """Fit the expected AP to the agreement, by logistic regression."""
    pairs = [pair for one in tried for pair in zip(one.suggestions, one.aps, strict=True) if pair[0].n_objects]
    features = np.array([[1, each.agreement] for each, _ in pairs])
    aps = np.array([ap for _, ap in pairs])

    def loss(weights: np.ndarray) -> float:
        likely = np.clip(expit(features @ weights), 1e-6, 1 - 1e-6)
        return float(-np.mean(aps * np.log(likely) + (1 - aps) * np.log(1 - likely)))

    return np.asarray(minimize(loss, np.zeros(2)).x)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add_folder_option(parser)
    parser.add_argument("--split", default="val", choices=["train", "val", "test"])
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--network", choices=["unet", "mask_rcnn"], help="models of this kind only")
    parser.add_argument("--every", type=int, default=1, help="one image in this many of each set, and of foreign ones")
    parser.add_argument("--verbose", action="store_true", help="print a line for each image and model")
    parser.add_argument("--fit", action="store_true", help="print the weights that fit these images")
    chosen = parser.parse_args()
    print("| set | images | best or second-best first | AP first / best | denied where one fits | none fits | error |")
    print("|---|---|---|---|---|---|---|", flush=True)
    everything: list[Tried] = []
    for name in chosen.sets:
        tried = [try_image(*each, chosen.network) for each in images_of(chosen.data, name, chosen.split, chosen.every)]
        if tried:
            print(line(name, tried), flush=True)
        for one in tried if chosen.verbose else []:
            for each, ap in zip(one.suggestions, one.aps, strict=True):
                print("   ", each.model, each.confidence, each.agreement, each.is_foreign, round(ap, 3))
        everything += tried
    print(line("all", everything), flush=True)
    foreign = []
    for number, (name, image) in enumerate(foreign_images(chosen.data)):
        if number % chosen.every == 0:
            foreign.append(tessera.suggest_model(image, axes="YXC"[: image.ndim], network=chosen.network))
            if foreign[-1][0].fits:
                print(f"{name}: {foreign[-1][0]}")
    print(f"none fits: {sum(not each[0].fits for each in foreign)} of {len(foreign)} images without objects")
    if chosen.fit:
        print(f"weights: {fitted_weights(everything).round(2).tolist()}")


if __name__ == "__main__":
    main()
