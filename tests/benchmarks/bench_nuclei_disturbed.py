"""Score a nuclei model on images as other microscopes take them: python bench_nuclei_disturbed.py --data FOLDER.

Each image is magnified, blurred, made noisy, given bright dust, and so on, and its truth with it where it moves. A
model that suits images it has not seen loses little. `--method mask_rcnn` scores the other network.
"""

from collections.abc import Callable

import numpy as np
from nuclei import image_and_truth
from nuclei_table import options, rows_of
from scipy.ndimage import gaussian_filter, zoom

import napari_tessera as tessera

Disturb = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def magnified(factor):
    """Resample an image, or its labels, by a factor."""

    def resampled(array: np.ndarray, is_labels: bool) -> np.ndarray:
        factors = (factor, factor, 1)[: array.ndim]
        if is_labels:
            return zoom(array, factors, order=0)
        smooth = array if factor >= 1 else gaussian_filter(array, [0.4 / factor] * 2 + [0] * (array.ndim - 2))
        return zoom(smooth, factors, order=1)

    return resampled


def range_of(image):
    """Difference between bright and dark."""
    low, high = np.percentile(image, [1, 99.5])
    return max(high - low, 1e-6)


def noisy(image, rng):
    """Add noise, a tenth of the range of the image."""
    return image + rng.normal(0, 0.1 * range_of(image), image.shape)


def few_photons(image, rng):
    """Count about twenty photons where it is brightest."""
    return rng.poisson(20 * np.clip(image - image.min(), 0, None) / range_of(image)).astype(float)


def blurred(image, rng):
    """Put it out of focus."""
    return gaussian_filter(image, [2, 2] + [0] * (image.ndim - 2))


def shaded(image, rng):
    """Let the light fall to a third towards one corner."""
    y, x = (np.linspace(0, 1, side) for side in image.shape[:2])
    light = 1 - 0.67 * (y[:, None] + x) / 2
    return image * light[(..., *[None] * (image.ndim - 2))]


def with_offset(image, rng):
    """Add what a camera adds, ten times the range of the image."""
    return image + 10 * range_of(image)


def with_dust(image, rng):
    """Add hot pixels, fifty times as bright as anything else, in one of ten thousand."""
    hot = rng.random(image.shape[:2]) < 1e-4
    return np.where(hot[(..., *[None] * (image.ndim - 2))], image.max() * 50, image)


def turned(image, rng):
    """Turn bright into dark."""
    return image.max() - image


def framed(image, rng):
    """Put it into an empty field nine times as large."""
    height, width = image.shape[:2]
    edge = np.percentile(image, 99 if np.median(image) > image.mean() else 1)
    return np.pad(image, [(height, height), (width, width)] + [(0, 0)] * (image.ndim - 2), constant_values=edge)


BRIGHTNESS: dict[str, Disturb] = {
    "noise": noisy, "few photons": few_photons, "out of focus": blurred, "shading": shaded, "offset": with_offset,
    "hot pixels": with_dust, "inverted": turned,
}  # fmt: skip
SCALES = (0.5, 0.75, 1.5, 2, 3)


def pairs(image, truth, rng):
    """Return image and truth for each disturbance, by its name."""
    image = image.astype(float)
    yield "as it is", image, truth
    for factor in SCALES:
        yield f"magnified {factor}×", magnified(factor)(image, False), magnified(factor)(truth, True)
    yield "in an empty field", framed(image, rng), np.pad(truth, [(side, side) for side in truth.shape])
    for name, disturb in BRIGHTNESS.items():
        yield name, disturb(image, rng), truth


def main():
    parser = options(__doc__)
    parser.add_argument("--method", default="unet", choices=["unet", "mask_rcnn"])
    chosen = parser.parse_args()
    segment = getattr(tessera, chosen.method)
    settings = {"model": chosen.model} if chosen.model else {}
    found: dict[str, dict[str, list[float]]] = {}
    for number, row in enumerate(rows_of(chosen.data, chosen.split)[:: chosen.every]):
        image, truth = image_and_truth(chosen.data, row["name"])
        rng = np.random.default_rng(number)
        for name, disturbed, where in pairs(image, truth, rng):
            said = segment(disturbed.astype(np.float32), channel_axis=2 if image.ndim == 3 else None, **settings)
            labels = said[0] if isinstance(said, tuple) else said
            kind = "fluorescence" if row["modality"] == "fluorescence" else "stained + brightfield"
            ap = tessera.evaluate(where, labels, thresholds=(0.5,))["ap"]["0.50"]
            found.setdefault(name, {}).setdefault(kind, []).append(ap)
    kinds = ("fluorescence", "stained + brightfield")
    counts = [len(found["as it is"].get(kind, ())) for kind in kinds]
    print(f"{chosen.method}, split {chosen.split}, AP at 0.5, mean over {counts[0]} and {counts[1]} images")
    print(f"| disturbance | {' | '.join(kinds)} |\n|---|---|---|")
    for name, by_kind in found.items():
        means = [f"{np.mean(by_kind[kind]):.3f}" if kind in by_kind else "–" for kind in kinds]
        print(f"| {name} | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
