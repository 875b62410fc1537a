"""Images to try things on: real ones that scikit-image carries, and synthetic ones with truth, made from a seed.

Nothing is ever downloaded. `python -m napari_tessera.sample_data FOLDER` writes the synthetic ones as TIFF files. They
are fluorescence images: nuclei of known outline, brightness, blur and noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from napari_tessera.core.labels import renumber
from napari_tessera.core.spatial import Spatial

MICROMETRE = "micrometer"
STRONGEST_HAEMATOXYLIN = 0.1
"""Amount of the stain that is drawn white; the darkest nuclei of the picture reach it."""


class Sample(NamedTuple):
    """An image, and its truth where that is known.

    Attributes
    ----------
    image : array
    truth : array of int32 or None
        0 is background; axes as `spatial` says.
    spatial : Spatial
        Placement of every axis but the channels.
    axes : str
        Axes of `image`, with "C" where there are channels.
    """

    image: np.ndarray
    truth: np.ndarray | None
    spatial: Spatial
    axes: str


def nuclei_2d(seed: int = 0, shape: tuple[int, int] = (256, 256), count: int = 60) -> Sample:
    """Make nuclei side by side, some dim, under an uneven lamp: (Y, X), 0.3 µm a pixel.

    Examples
    --------
    >>> image, truth, spatial, axes = nuclei_2d()
    >>> image.shape, axes, spatial.unit
    ((256, 256), 'YX', 'micrometer')
    """
    return _nuclei(seed, shape, count, (0.3, 0.3), blur=(0.35, 0.35), closeness=0.9)


def nuclei_3d(seed: int = 0, shape: tuple[int, int, int] = (24, 128, 128), count: int = 28) -> Sample:
    """Make touching nuclei in a stack of coarse planes: (Z, Y, X), voxels of 1.0 × 0.25 × 0.25 µm."""
    return _nuclei(seed, shape, count, (1.0, 0.25, 0.25), blur=(0.9, 0.3, 0.3), closeness=0.8)


TYPICAL_RADIUS = 4.0
"""Of the nuclei of `microscope_volume`, in micrometres."""


def microscope_volume(seed: int = 0, side: int = 96) -> Sample:
    """Make a volume as from one of many microscopes, to train networks on: (Z, Y, X), up to `side` voxels a side.

    From volume to volume vary: the size of the nuclei (radius 4 to 12 pixels), how unequal and how long they are, how
    many there are and how they press on each other, their texture and nucleoli; the distance of the planes (1 to 5
    pixels), the blur (longer along z), haze, bright walls between nuclei, the loss of light with depth, and the noise.

    Examples
    --------
    >>> image, truth, spatial, axes = microscope_volume(side=48)
    >>> image.shape == truth.shape, axes
    (True, 'ZYX')
    """
    rng = np.random.default_rng(seed)
    radius_px = float(np.exp(rng.uniform(np.log(4), np.log(12))))
    pixel, width = TYPICAL_RADIUS / radius_px, min(side, round(14 * radius_px))
    deepness = 1.0 if rng.random() < 0.3 else float(np.exp(rng.uniform(0, np.log(5))))
    shape = (max(12, round(width * rng.uniform(0.6, 1) / deepness)), width, width)
    spacing = (deepness * pixel, pixel, pixel)
    nuclei = _crowd(rng, _extent(shape, spacing))
    drawn = draw(nuclei, shape, spacing)
    light = photons(rng, drawn, nuclei, spacing, grain=rng.uniform(0.3, 1.5), contrast=rng.uniform(0.1, 0.5))
    if rng.random() < 0.4:
        nucleoli = [replace(each, radii=rng.uniform(0.3, 0.5) * each.radii) for each in nuclei]
        light[(draw(nucleoli, shape, spacing) > 0) & (drawn > 0)] *= rng.uniform(0.2, 0.8)
    light = _in_tissue(rng, light, drawn > 0, spacing) * np.exp(rng.uniform(np.log(0.015), 0))
    width_of_blur = rng.uniform(0.1, 0.5)
    blur = (width_of_blur * rng.uniform(1.5, 4), width_of_blur, width_of_blur)
    image = photograph(rng, light, spacing, blur, background=rng.uniform(0.02, 0.5) * light[drawn > 0].mean())
    return Sample(image, renumber(drawn), Spatial.with_spacing("ZYX", spacing, MICROMETRE), "ZYX")


def _crowd(rng: np.random.Generator, extent: Sequence[float]) -> list[Nucleus]:
    """Place few or many nuclei of one kind, all over the volume or in a ball."""
    share = rng.uniform(0.03, 0.6)
    count = max(2, round(share * np.prod(extent) / (4 / 3 * np.pi * TYPICAL_RADIUS**3)))
    length = rng.choice([1.0, rng.uniform(1, 2.2)])
    kind = {"length": length, "spread": rng.uniform(0.01, 0.25), "is_ball": rng.random() < 0.3}
    return scatter(rng, extent, count, TYPICAL_RADIUS, rng.uniform(0.75, 1.1), **kind)


def _in_tissue(
    rng: np.random.Generator, light: np.ndarray, is_nucleus: np.ndarray, spacing: Sequence[float]
) -> np.ndarray:
    """Add haze and, in some volumes, bright walls; let the light fade with depth."""
    level = float(light[is_nucleus].mean())
    wide = [TYPICAL_RADIUS / size for size in spacing]
    light = light + rng.uniform(0, 0.6) * ndimage.gaussian_filter(light, [2 * wide[0], wide[1], wide[2]])
    field = ndimage.gaussian_filter(rng.normal(size=light.shape), wide)
    field /= field.std()
    light = light + rng.uniform(0, 0.4) * level * np.clip(field, 0, 2)
    if rng.random() < 0.35:
        light = light + np.where(is_nucleus, 0, rng.uniform(0.5, 3) * level * np.exp(-((field / 0.06) ** 2)))
    fading = np.exp(-rng.uniform(0, 1.8) * np.linspace(0, 1, len(light)))[:: rng.choice([-1, 1])]
    return np.asarray(light * fading[:, None, None])


def _nuclei(
    seed: int, shape: Sequence[int], count: int, spacing: Sequence[float], blur: Sequence[float], closeness: float
) -> Sample:
    rng, axes = np.random.default_rng(seed), "ZYX"[-len(shape) :]
    nuclei = scatter(rng, _extent(shape, spacing), count, radius=4, closeness=closeness)
    drawn = draw(nuclei, shape, spacing)
    image = photograph(rng, photons(rng, drawn, nuclei, spacing), spacing, blur)
    return Sample(image, renumber(drawn), Spatial.with_spacing(axes, spacing, MICROMETRE), axes)


def time_series(seed: int = 0, frames: int = 8, shape: tuple[int, int] = (128, 128), count: int = 14) -> Sample:
    """Make nuclei that wander and divide: (T, Y, X), one frame in 5 minutes; a nucleus keeps its number in the truth.

    The two halves of a divided nucleus get new numbers.
    """
    rng, spacing = np.random.default_rng(seed), (0.4, 0.4)
    present: list[Nucleus | None] = [*scatter(rng, _extent(shape, spacing), count, radius=3.5, closeness=1.1)]
    images, truths = [], []
    for frame in range(frames):
        if frame:
            present = wander(rng, present)
        if frame and frame % 2 == 0:
            present = divide_one(rng, present)
        truth = draw(present, shape, spacing)
        light = photons(rng, truth, present, spacing)
        truths.append(truth)
        images.append(photograph(rng, light, spacing, blur=(0.4, 0.4)))
    units = ("minute", MICROMETRE, MICROMETRE)
    return Sample(np.stack(images), np.stack(truths), Spatial("TYX", (5.0, *spacing), (0.0,) * 3, units), "TYX")


def two_channels(seed: int = 0, shape: tuple[int, int] = (192, 192), count: int = 32) -> Sample:
    """Make nuclei (channel 1) in cells with a bright membrane (channel 2): (C, Y, X); the truth is the nuclei."""
    from skimage.segmentation import find_boundaries, watershed

    rng, spacing = np.random.default_rng(seed), (0.3, 0.3)
    nuclei = scatter(rng, _extent(shape, spacing), count, radius=3.2, closeness=1.3)
    truth = draw(nuclei, shape, spacing)
    from_nucleus = ndimage.distance_transform_edt(truth == 0, sampling=spacing)
    cells = watershed(from_nucleus, truth, mask=from_nucleus < 4)
    membrane = 150 * find_boundaries(cells, mode="inner") + 40 * ((cells > 0) & (truth == 0))
    nuclear = photons(rng, truth, nuclei, spacing)
    image = np.stack([photograph(rng, light, spacing, (0.35, 0.35)) for light in (nuclear, membrane)])
    return Sample(image, renumber(truth), Spatial.with_spacing("YX", spacing, MICROMETRE), "CYX")


def _extent(shape: Sequence[int], spacing: Sequence[float]) -> tuple[float, ...]:
    return tuple(length * size for length, size in zip(shape, spacing, strict=True))


def _real(name: str) -> Callable[[], Sample]:
    """Return a loader of an image that lies in scikit-image's own folder."""

    def load() -> Sample:
        from skimage import data

        image = getattr(data, name)()
        axes = "YXC" if image.ndim == 3 else "YX"
        return Sample(image, None, Spatial.plain("YX"), axes)

    return load


def haematoxylin() -> Sample:
    """Separate the blue stain of nuclei from the brown one in the stained tissue: (Y, X), bright nuclei.

    The stains are told apart as in Ruifrok & Johnston 2001 (PMID 11531144).
    """
    from skimage.color import rgb2hed

    tissue = sample_named("immunohistochemistry")
    amount = rgb2hed(tissue.image)[..., 0]
    image = np.rint(255 * np.clip(amount / STRONGEST_HAEMATOXYLIN, 0, 1)).astype(np.uint8)
    return Sample(image, None, tissue.spatial, "YX")


@dataclass(frozen=True)
class SampleEntry:
    """What the menus and docs show of a sample."""

    name: str
    title: str
    load: Callable[[], Sample]
    is_real: bool = False  # a photograph; the others are synthetic and have a truth


SAMPLES: tuple[SampleEntry, ...] = (
    SampleEntry("coins", "Coins (grey, 2-D)", _real("coins"), is_real=True),
    SampleEntry("cell", "A cell (phase contrast, 2-D)", _real("cell"), is_real=True),
    SampleEntry("immunohistochemistry", "Stained tissue (RGB)", _real("immunohistochemistry"), is_real=True),
    SampleEntry("haematoxylin", "Nuclei of stained tissue (haematoxylin, 2-D)", haematoxylin, is_real=True),
    SampleEntry("retina", "Retina (RGB)", _real("retina"), is_real=True),
    SampleEntry("microaneurysms", "Microaneurysms (grey, 2-D)", _real("microaneurysms"), is_real=True),
    SampleEntry("nuclei_2d", "Nuclei (synthetic, 2-D, with truth)", nuclei_2d),
    SampleEntry("nuclei_3d", "Touching nuclei (synthetic, 3-D, with truth)", nuclei_3d),
    SampleEntry("time_series", "Dividing nuclei (synthetic, time series, with truth)", time_series),
    SampleEntry("two_channels", "Nuclei and membranes (synthetic, 2 channels, with truth)", two_channels),
)


def real_samples() -> tuple[SampleEntry, ...]:
    """Return the photographs."""
    return tuple(entry for entry in SAMPLES if entry.is_real)


def sample_named(name: str) -> Sample:
    """Load a sample by its name.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    from napari_tessera.core.errors import ParameterError

    by_name = {entry.name: entry for entry in SAMPLES}
    if name not in by_name:
        raise ParameterError(f"There is no sample {name!r}. There are: {', '.join(by_name)}.", "name")
    return by_name[name].load()


def write_samples(folder: Path) -> list[Path]:
    """Write every synthetic sample as <name>.tif and <name>_truth.tif, with pixel size, as ImageJ reads them."""
    from napari_tessera.core.atomic_writes import written_together
    from napari_tessera.io.tiff import write_tiff

    written = []
    for entry in SAMPLES:
        if entry.is_real:
            continue
        image, truth, spatial, axes = entry.load()
        assert truth is not None
        paths = [folder / f"{entry.name}.tif", folder / f"{entry.name}_truth.tif"]
        with written_together(paths, overwrite=True) as (image_part, truth_part):
            write_tiff(image_part, image, spatial, axes=axes)
            write_tiff(truth_part, truth, spatial, axes=spatial.axes)
        written += paths
    return written


def main() -> None:
    """Write the synthetic samples to the folder named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    for path in write_samples(parser.parse_args().folder):
        print(f"{path} {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()


CAMERA_OFFSET = 100.0
CAMERA_NOISE = 4.0


@dataclass(frozen=True)
class Nucleus:
    """One ellipsoid, lying in any direction."""

    centre: np.ndarray  # in micrometres, (z,) y, x
    radii: np.ndarray  # in micrometres, along the nucleus' own axes
    turn: np.ndarray  # rotation matrix from the image's axes to the nucleus' own
    brightness: float  # photons a pixel


Nuclei = Sequence[Nucleus | None]


def scatter(
    rng: np.random.Generator,
    extent: Sequence[float],
    count: int,
    radius: float,
    closeness: float = 1.0,
    *,
    is_ball: bool = False,
    **kind: float,
) -> list[Nucleus]:
    """Place up to `count` nuclei in a field of `extent` micrometres.

    Centres are kept `closeness` times the sum of two mean radii apart: below 1 nuclei press on each other. With
    `is_ball` most lie around the middle. `kind` is for `random_nucleus`.
    """
    middle = np.multiply(extent, 0.5)
    nuclei: list[Nucleus] = []
    centres, radii = np.empty((count, len(extent))), np.empty(count)
    for _ in range(60 * count):
        if len(nuclei) == count:
            break
        centre = np.clip(rng.normal(middle, middle / 3), 0, extent) if is_ball else rng.uniform(0, extent)
        new = random_nucleus(rng, centre, radius, **kind)
        here, mean = len(nuclei), new.radii.mean()
        apart = np.linalg.norm(centres[:here] - new.centre, axis=1)
        if (apart > closeness * (mean + radii[:here])).all():
            centres[here], radii[here] = new.centre, mean
            nuclei.append(new)
    return nuclei


def random_nucleus(
    rng: np.random.Generator, centre: np.ndarray, radius: float, length: float = 1.0, spread: float = 0.0
) -> Nucleus:
    """Draw size, direction and brightness; one in ten is dim.

    `length` is how many times longer than wide they are, `spread` the standard deviation of the size's logarithm.
    """
    radii = radius * rng.uniform(0.75, 1.2, len(centre))
    if spread:
        radii *= rng.lognormal(0, spread) * length ** (np.array([2, -1, -1])[: len(centre)] / 3)
    turn, _ = np.linalg.qr(rng.normal(size=(len(centre), len(centre))))
    dimness = 0.3 if rng.random() < 0.1 else 1.0
    return Nucleus(np.asarray(centre, float), radii, turn, 300 * dimness * float(rng.lognormal(0, 0.35)))


def draw(nuclei: Nuclei, shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """Draw an int32 label image: nucleus i of the list gets label i + 1, and a pixel goes to the nearest centre.

    None leaves its number unused.
    """
    labels = np.zeros(shape, np.int32)
    nearest = np.ones(shape, np.float32)
    for number, nucleus in enumerate(nuclei, 1):
        if nucleus is None:
            continue
        box = _box(nucleus, shape, spacing)
        depth = _depth(nucleus, box, spacing)
        inside = depth < nearest[box]
        nearest[box][inside] = depth[inside]
        labels[box][inside] = number
    return labels


def _box(nucleus: Nucleus, shape: Sequence[int], spacing: Sequence[float]) -> tuple[slice, ...]:
    reach = nucleus.radii.max()
    return tuple(
        slice(max(0, int((centre - reach) / size)), max(0, min(length, int((centre + reach) / size) + 2)))
        for centre, size, length in zip(nucleus.centre, spacing, shape, strict=True)
    )


def _depth(nucleus: Nucleus, box: tuple[slice, ...], spacing: Sequence[float]) -> np.ndarray:
    """Return 0 at the centre, 1 on the outline, for the pixels of a box."""
    grid = np.meshgrid(
        *(np.arange(part.start, part.stop) * size for part, size in zip(box, spacing, strict=True)), indexing="ij"
    )
    offsets = np.stack(grid, axis=-1) - nucleus.centre  # (..., D)
    return np.linalg.norm(offsets @ nucleus.turn.T / nucleus.radii, axis=-1)


def wander(rng: np.random.Generator, nuclei: Nuclei, step: float = 0.7) -> list[Nucleus | None]:
    """Move every nucleus by about `step` micrometres."""
    return [
        nucleus and replace(nucleus, centre=nucleus.centre + rng.normal(0, step, len(nucleus.centre)))
        for nucleus in nuclei
    ]


def divide_one(rng: np.random.Generator, nuclei: Nuclei) -> list[Nucleus | None]:
    """End one nucleus, leaving None in its place, and add its two halves to the end of the list."""
    number = int(rng.choice([place for place, nucleus in enumerate(nuclei) if nucleus is not None]))
    mother = nuclei[number]
    assert mother is not None
    apart = mother.turn[0] * mother.radii.mean() * 0.85
    halves = [replace(mother, centre=mother.centre + way * apart, radii=mother.radii * 0.75) for way in (-1, 1)]
    return [*nuclei[:number], None, *nuclei[number + 1 :], *halves]


def photons(
    rng: np.random.Generator,
    labels: np.ndarray,
    nuclei: Nuclei,
    spacing: Sequence[float],
    grain: float = 0.6,
    contrast: float = 0.25,
) -> np.ndarray:
    """Return the light of drawn nuclei before it reaches the lens, each of its own brightness and texture.

    `grain` is the width of the texture in micrometres, `contrast` its standard deviation.
    """
    pattern = ndimage.gaussian_filter(rng.normal(size=labels.shape), [grain / size for size in spacing])
    texture = 1 + contrast * pattern / max(float(pattern.std()), 1e-9)
    brightness = [0.0, *(nucleus.brightness if nucleus else 0.0 for nucleus in nuclei)]
    return np.asarray(brightness)[labels] * np.clip(texture, 0.2, None)


def photograph(
    rng: np.random.Generator, light: np.ndarray, spacing: Sequence[float], blur: Sequence[float], background: float = 20
) -> np.ndarray:
    """Blur, uneven illumination, photon noise and camera noise; uint16.

    `light` and `background` (from out of focus) are photons a pixel; `spacing` is the pixel size and `blur` the width
    (sigma) of the point-spread function, in micrometres.
    """
    lit = ndimage.gaussian_filter(light, [width / size for width, size in zip(blur, spacing, strict=True)])
    lit = (lit + background) * _illumination(light.shape)
    counts = rng.poisson(lit) + CAMERA_OFFSET + rng.normal(0, CAMERA_NOISE, light.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def _illumination(shape: Sequence[int]) -> np.ndarray:
    """Return a lamp that is off the centre, 1 at its brightest; the same for every plane."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[-2]), np.linspace(-1, 1, shape[-1]), indexing="ij")
    lamp = np.exp(-((y + 0.3) ** 2 + (x - 0.2) ** 2) / 4)
    return np.broadcast_to(lamp / lamp.max(), shape)
