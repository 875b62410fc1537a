"""Count the different colours of an 8-bit image, exactly.

A colour is one number with the bits of its channels taken in turn (Morton order), so that colours next to each other
are alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.methods.equal_steps import equal_steps
from napari_tessera.methods.histogram import Grid
from napari_tessera.methods.kmeans_features import Place

COLOURS = 2**24
PROBED = 2**10
"""Pixels that tell most images whose values lie on no steps."""


@dataclass(frozen=True)
class ColourCounts:
    """Different colours, and how many pixels have each.

    Attributes
    ----------
    keys : (N,) uint32 array
        Ascending.
    counts : (N,) int64 array
    channels : int
        2 or 3.
    """

    keys: np.ndarray
    counts: np.ndarray
    channels: int

    @property
    def colours(self) -> np.ndarray:
        """The different colours, (N, channels) uint8."""
        from napari_tessera.methods.colour_counting import split

        colours = np.empty((len(self.keys), self.channels), np.uint8)
        split(self.keys, colours)
        return colours

    def __add__(self, other: ColourCounts) -> ColourCounts:
        from napari_tessera.methods.colour_counting import merge

        return ColourCounts(*merge(self.keys, self.counts, other.keys, other.counts), self.channels)


def count_colours(values: np.ndarray) -> ColourCounts:
    """Count the colours of (N, 2) or (N, 3) uint8 pixels."""
    from napari_tessera.methods.colour_counting import PAGE_BITS, collect, count

    channels = values.shape[1]
    pixels, is_used = np.zeros(COLOURS, np.uint32), np.zeros(COLOURS >> PAGE_BITS, np.bool_)
    spread = SPREAD * (np.arange(3)[:, np.newaxis] < channels).astype(np.uint32)  # nothing for a third of two channels
    count(np.ascontiguousarray(values), spread, pixels, is_used)
    return ColourCounts(*collect(pixels, is_used), channels)


@dataclass(frozen=True)
class StepColours:
    """Different colours in equal steps from the lowest value of each channel, so that any unit and offset gives these.

    Attributes
    ----------
    colours : (N, channels) uint8 array
        Those that are alike next to each other.
    counts : (N,) int64 array
    place : Place
        Where step 0 of each channel lies, and the intensity of a step.
    """

    colours: np.ndarray
    counts: np.ndarray
    place: Place

    @classmethod
    def of_counts(cls, counted: ColourCounts) -> StepColours:
        """Count the steps of 8-bit colours."""
        colours = counted.colours
        low = colours.min(axis=0)
        steps, width = _reduced(colours - low)
        order = np.argsort(_keys(steps), kind="stable") if low.any() or width > 1 else slice(None)
        return cls(steps[order], counted.counts[order], Place(tuple(low.tolist()), float(width)))

    @classmethod
    def of_values(cls, values: np.ndarray) -> StepColours | None:
        """Count the colours of (N, C) pixels; None where they are not two or three channels of up to 256 steps."""
        if values.shape[1] not in (2, 3) or not _on_steps(values[:PROBED]) or not (parts := _on_steps(values)):
            return None
        grid = Grid(values.min().item(), values.max().item(), parts + 1, is_exact=True)
        steps = grid.index(values)
        steps, width = _reduced(steps - steps.min(axis=0))
        if steps.max() > np.iinfo(np.uint8).max:
            return None
        colours = steps.astype(np.uint8)
        _, first, counts = np.unique(_keys(colours), return_index=True, return_counts=True)
        return cls(colours[first], counts, Place(tuple(values.min(axis=0).tolist()), grid.step * width))


def _on_steps(values: np.ndarray) -> int:
    """Return on how many equal steps all values lie; 0 for none."""
    different = np.unique(values)
    return (equal_steps(different) or 0) if len(different) > 1 else 0


def _reduced(steps: np.ndarray) -> tuple[np.ndarray, int]:
    """Divide whole numbers by their greatest common divisor."""
    width = max(1, int(np.gcd.reduce(steps.reshape(-1))))
    return steps // steps.dtype.type(width), width


def _keys(colours: np.ndarray) -> np.ndarray:
    """Bring the bits of each colour's channels together in one number."""
    keys = np.zeros(len(colours), np.uint32)
    for channel, values in enumerate(colours.T):
        keys |= SPREAD[channel][values]
    return keys


def _spread_bits() -> np.ndarray:
    """Each byte with two empty bits after each of its own, moved up by the channel's number, (3, 256) uint32."""
    byte, spread = np.arange(256, dtype=np.uint32), np.zeros(256, np.uint32)
    for bit in range(8):
        spread |= (byte & np.uint32(1 << bit)) << np.uint32(2 * bit)
    return spread << np.arange(3, dtype=np.uint32)[:, np.newaxis]


SPREAD = _spread_bits()
