"""Fluorescence images made from a seed: nuclei of known outline, brightness, blur and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

CAMERA_OFFSET = 100.0
CAMERA_NOISE = 4.0


@dataclass(frozen=True)
class Nucleus:
    """One ellipsoid, lying in any direction.

    Attributes
    ----------
    centre, radii : array
        In micrometres, as (z,) y, x; radii along the nucleus' own axes.
    turn : array
        Rotation matrix from the image's axes to the nucleus' own.
    brightness : float
        Photons a pixel.
    """

    centre: np.ndarray
    radii: np.ndarray
    turn: np.ndarray
    brightness: float

    def moved(self, by: np.ndarray) -> Nucleus:
        """Return the same nucleus elsewhere."""
        return replace(self, centre=self.centre + by)


Nuclei = Sequence[Nucleus | None]


def scatter(
    rng: np.random.Generator, extent: Sequence[float], count: int, radius: float, closeness: float = 1.0
) -> list[Nucleus]:
    """Place up to `count` nuclei in a field of `extent` micrometres.

    Centres are kept `closeness` times the sum of two mean radii apart: below 1 nuclei press on each other.
    """
    nuclei: list[Nucleus] = []
    for _ in range(60 * count):
        if len(nuclei) == count:
            break
        new = random_nucleus(rng, rng.uniform(0, extent), radius)
        if all(_distance(new, old) > closeness * (new.radii.mean() + old.radii.mean()) for old in nuclei):
            nuclei.append(new)
    return nuclei


def random_nucleus(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Nucleus:
    """Draw size, direction and brightness; one in ten is dim."""
    radii = radius * rng.uniform(0.75, 1.2, len(centre))
    turn, _ = np.linalg.qr(rng.normal(size=(len(centre), len(centre))))
    dimness = 0.3 if rng.random() < 0.1 else 1.0
    return Nucleus(np.asarray(centre, float), radii, turn, 300 * dimness * float(rng.lognormal(0, 0.35)))


def _distance(one: Nucleus, other: Nucleus) -> float:
    return float(np.linalg.norm(one.centre - other.centre))


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
    return [nucleus and nucleus.moved(rng.normal(0, step, len(nucleus.centre))) for nucleus in nuclei]


def divide_one(rng: np.random.Generator, nuclei: Nuclei) -> list[Nucleus | None]:
    """End one nucleus, leaving None in its place, and add its two halves to the end of the list."""
    number = int(rng.choice([place for place, nucleus in enumerate(nuclei) if nucleus is not None]))
    mother = nuclei[number]
    assert mother is not None
    apart = mother.turn[0] * mother.radii.mean() * 0.85
    halves = [replace(mother, centre=mother.centre + way * apart, radii=mother.radii * 0.75) for way in (-1, 1)]
    return [*nuclei[:number], None, *nuclei[number + 1 :], *halves]


def photons(rng: np.random.Generator, labels: np.ndarray, nuclei: Nuclei, spacing: Sequence[float]) -> np.ndarray:
    """Return the light of drawn nuclei before it reaches the lens, each of its own brightness and grainy."""
    grain = ndimage.gaussian_filter(rng.normal(size=labels.shape), [0.6 / size for size in spacing])
    texture = 1 + 0.25 * grain / max(float(grain.std()), 1e-9)
    brightness = [0.0, *(nucleus.brightness if nucleus else 0.0 for nucleus in nuclei)]
    return np.asarray(brightness)[labels] * np.clip(texture, 0.2, None)


def photograph(
    rng: np.random.Generator, light: np.ndarray, spacing: Sequence[float], blur: Sequence[float], background: float = 20
) -> np.ndarray:
    """Blur, uneven illumination, photon noise and camera noise; uint16.

    Parameters
    ----------
    rng : numpy.random.Generator
    light : array
        Photons a pixel.
    spacing, blur : sequence of float
        Pixel size and width (sigma) of the point-spread function, in micrometres.
    background : float
        Photons a pixel from out of focus.
    """
    seen = ndimage.gaussian_filter(light, [width / size for width, size in zip(blur, spacing, strict=True)])
    seen = (seen + background) * _illumination(light.shape)
    counts = rng.poisson(seen) + CAMERA_OFFSET + rng.normal(0, CAMERA_NOISE, light.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def _illumination(shape: Sequence[int]) -> np.ndarray:
    """Return a lamp that is off the centre, 1 at its brightest; the same for every plane."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[-2]), np.linspace(-1, 1, shape[-1]), indexing="ij")
    lamp = np.exp(-((y + 0.3) ** 2 + (x - 0.2) ** 2) / 4)
    return np.broadcast_to(lamp / lamp.max(), shape)
