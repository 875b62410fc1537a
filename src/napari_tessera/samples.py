"""Images to try things on: real ones that scikit-image carries, and synthetic ones with truth, made from a seed.

Nothing is ever downloaded. `python -m napari_tessera.samples FOLDER` writes the synthetic ones as TIFF files.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_tessera.spatial import Spatial

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
    from napari_tessera import synthetic

    rng, spacing = np.random.default_rng(seed), (0.3, 0.3)
    nuclei = synthetic.scatter(rng, _extent(shape, spacing), count, radius=4, closeness=0.9)
    drawn = synthetic.draw(nuclei, shape, spacing)
    light = synthetic.photons(rng, drawn, nuclei, spacing)
    image = synthetic.photograph(rng, light, spacing, blur=(0.35, 0.35))
    return Sample(image, _in_raster_order(drawn), Spatial.with_spacing("YX", spacing, MICROMETRE), "YX")


def nuclei_3d(seed: int = 0, shape: tuple[int, int, int] = (24, 128, 128), count: int = 28) -> Sample:
    """Make touching nuclei in a stack of coarse planes: (Z, Y, X), voxels of 1.0 × 0.25 × 0.25 µm."""
    from napari_tessera import synthetic

    rng, spacing = np.random.default_rng(seed), (1.0, 0.25, 0.25)
    nuclei = synthetic.scatter(rng, _extent(shape, spacing), count, radius=4, closeness=0.8)
    drawn = synthetic.draw(nuclei, shape, spacing)
    light = synthetic.photons(rng, drawn, nuclei, spacing)
    image = synthetic.photograph(rng, light, spacing, blur=(0.9, 0.3, 0.3))
    return Sample(image, _in_raster_order(drawn), Spatial.with_spacing("ZYX", spacing, MICROMETRE), "ZYX")


def time_series(seed: int = 0, frames: int = 8, shape: tuple[int, int] = (128, 128), count: int = 14) -> Sample:
    """Make nuclei that wander and divide: (T, Y, X), one frame in 5 minutes; a nucleus keeps its number in the truth.

    The two halves of a divided nucleus get new numbers.
    """
    from napari_tessera import synthetic

    rng, spacing = np.random.default_rng(seed), (0.4, 0.4)
    present: list[synthetic.Nucleus | None] = [
        *synthetic.scatter(rng, _extent(shape, spacing), count, radius=3.5, closeness=1.1)
    ]
    images, truths = [], []
    for frame in range(frames):
        if frame:
            present = synthetic.wander(rng, present)
        if frame and frame % 2 == 0:
            present = synthetic.divide_one(rng, present)
        truth = synthetic.draw(present, shape, spacing)
        light = synthetic.photons(rng, truth, present, spacing)
        truths.append(truth)
        images.append(synthetic.photograph(rng, light, spacing, blur=(0.4, 0.4)))
    units = ("minute", MICROMETRE, MICROMETRE)
    return Sample(np.stack(images), np.stack(truths), Spatial("TYX", (5.0, *spacing), (0.0,) * 3, units), "TYX")


def two_channels(seed: int = 0, shape: tuple[int, int] = (192, 192), count: int = 32) -> Sample:
    """Make nuclei (channel 1) in cells with a bright membrane (channel 2): (C, Y, X); the truth is the nuclei."""
    from scipy import ndimage
    from skimage.segmentation import find_boundaries, watershed

    from napari_tessera import synthetic

    rng, spacing = np.random.default_rng(seed), (0.3, 0.3)
    nuclei = synthetic.scatter(rng, _extent(shape, spacing), count, radius=3.2, closeness=1.3)
    truth = synthetic.draw(nuclei, shape, spacing)
    from_nucleus = ndimage.distance_transform_edt(truth == 0, sampling=spacing)
    cells = watershed(from_nucleus, truth, mask=from_nucleus < 4)
    membrane = 150 * find_boundaries(cells, mode="inner") + 40 * ((cells > 0) & (truth == 0))
    nuclear = synthetic.photons(rng, truth, nuclei, spacing)
    image = np.stack([synthetic.photograph(rng, light, spacing, (0.35, 0.35)) for light in (nuclear, membrane)])
    return Sample(image, _in_raster_order(truth), Spatial.with_spacing("YX", spacing, MICROMETRE), "CYX")


def _in_raster_order(labels: np.ndarray) -> np.ndarray:
    from napari_tessera.labels import renumber

    return renumber(labels)


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
    """What the menus and docs show of a sample.

    Attributes
    ----------
    name, title : str
    load : function without arguments that returns a `Sample`
    is_real : bool
        A photograph; the others are synthetic and have a truth.
    """

    name: str
    title: str
    load: Callable[[], Sample]
    is_real: bool = False


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
    from napari_tessera.errors import ParameterError

    by_name = {entry.name: entry for entry in SAMPLES}
    if name not in by_name:
        raise ParameterError(f"There is no sample {name!r}. There are: {', '.join(by_name)}.", "name")
    return by_name[name].load()


def write_samples(folder: Path) -> list[Path]:
    """Write every synthetic sample as <name>.tif and <name>_truth.tif, with pixel size, as ImageJ reads them."""
    from napari_tessera.io.tiff import write_tiff
    from napari_tessera.io.together import written_together

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
