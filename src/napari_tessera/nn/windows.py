"""Arithmetic of the windows in which a network sees a large image: how large, where, and how they fade together.

Windows begin at multiples of the network's step, so that its pooling always pools the same pixels. At the image's edge
they reach one step beyond, where the image is mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMALLEST_SIDE_PX = 32
FADE_SHARE = 1 / 3
"""Share of the halo in which two neighbouring windows fade into each other."""


@dataclass(frozen=True)
class Span:
    """One window along one axis, in pixels of the network's grid.

    Attributes
    ----------
    read : (int, int)
        What the network sees, from start to stop; outside the image, it is mirrored.
    write : (int, int)
        What the window has a say in.
    weight : float32 array (stop − start of `write`,)
        How much of a say; the weights of all windows add up to 1 at each pixel.
    """

    read: tuple[int, int]
    write: tuple[int, int]
    weight: np.ndarray

    @property
    def inner(self) -> slice:
        """Where `write` lies inside `read`."""
        return slice(self.write[0] - self.read[0], self.write[1] - self.read[0])


def spans(size: int, side: int, step: int, halo: int) -> list[Span]:
    """Cover one axis of `size` pixels with windows that decide about `side` pixels each.

    Parameters
    ----------
    size : int
    side : int
        The windows are made as even as their step allows, and no larger than this, rounded up to the step.
    step, halo : int
        `halo`, in multiples of `step`, is what a window sees beyond what it decides.
    """
    even = _up(-(-size // -(-size // _up(side, step))), step)
    borders = [*range(0, size, even), size]
    fades = [0, *(_fade(*three, halo) for three in zip(borders, borders[1:], borders[2:], strict=False)), 0]
    end = _up(size + 2 * step, step) - step
    return [
        Span(
            (max(start - halo, -step), end if stop == size else min(stop + halo, end)),
            (start - before, stop + after),
            _weight(start, stop, before, after),
        )
        for start, stop, before, after in zip(borders, borders[1:], fades, fades[1:], strict=False)
    ]


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _fade(start: int, border: int, stop: int, halo: int) -> int:
    """Half the width of the fade at a border, which must not meet the fades at the next borders."""
    return min(int(FADE_SHARE * halo), (border - start) // 2, (stop - border) // 2)


def _weight(start: int, stop: int, before: int, after: int) -> np.ndarray:
    rise = (np.arange(2 * before) + 0.5) / max(1, 2 * before)
    fall = (np.arange(2 * after)[::-1] + 0.5) / max(1, 2 * after)
    return np.concatenate([rise, np.ones(stop - start - before - after), fall]).astype(np.float32)


def seen_pixels(size: Sequence[int], side: int, step: int, halo: int) -> int:
    """Count the pixels that the network computes over all windows, halos included."""
    lengths = (sum(span.read[1] - span.read[0] for span in spans(each, side, step, halo)) for each in size)
    return int(np.prod([*lengths], dtype=np.int64))


def largest_side(size: Sequence[int], step: int, halo: int, n_pixels: int) -> int:
    """Return the largest side, along all axes, with which no window holds more than `n_pixels`, if there is one.

    Windows along axes that are shorter than that leave room for the others.
    """
    side = _up(max(*size, SMALLEST_SIDE_PX), step)
    while side > SMALLEST_SIDE_PX and np.prod([min(each + 2.0 * step, side + 2.0 * halo) for each in size]) > n_pixels:
        side -= step
    return side
