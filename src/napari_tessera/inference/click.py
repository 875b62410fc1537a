"""Find the one object that is pointed at: clicks, a box, or a rough outline, and a network that sees one window.

The window is cut around what is pointed at, and scaled; once a first mask is found, it is cut and scaled again, so that
the object fills about half of it. So objects of any size are found in an image of any size, of which no more than a few
windows are read. Brightness is that of the window: nothing needs to be known of the rest of the image.

References
----------
Xu et al. 2016, doi:10.1109/CVPR.2016.47 (clicks as channels of the network); Sofiiuk et al. 2022,
doi:10.1109/ICIP46576.2022.9897365 (the mask so far as another channel).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_tessera.inference.pixel_grid import Grid, Read, interpolation_weights, network_grid, read_window

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Network

WINDOW_PX = 96
"""Side of the window that the network sees."""
COLOURS, POSITIVE, NEGATIVE, BOX, BEFORE = 3, 0, 1, 2, 3
CHANNELS = COLOURS + 4
"""Colours; then clicks on the object, clicks beside it, the box, and the mask so far: 0 or 1 each."""
CLICK_RADIUS_PX = 2.5
LOW_PERCENT, HIGH_PERCENT = 1.0, 99.5
"""Percentiles of a window that become 0 and 1."""
LARGEST_FACTOR = 4.0
"""An image is enlarged no more."""
FILLED = 0.46
"""Share of the window's side that an object fills in the second look."""
CROWDED = 0.85
"""An object that fills a larger share of the window's side is looked at from farther away."""
STEP_BACK = 0.4
"""How much farther: factor of the scale."""
MOST_STEPS, MOST_STEPS_EMPTY = 5, 2
"""How often at most, and how often where nothing is found: the window may lie inside of a large object."""
CLOSE_ENOUGH = 1.25
"""A second look that would change the scale by less is left out."""
OF_CUT, OF_TINY, TINY_PX = 0.3, 0.8, 6
"""Of two first looks the better one counts; one whose mask goes beyond the window, or is tiny, has less merit."""
BOX_FILLED = 0.55
"""Share of the window's side that a box fills."""


@dataclass(frozen=True)
class Clicks:
    """What the user pointed at, in pixels of the image (y, x)."""

    positive: tuple[tuple[float, float], ...] = ()  # on the object
    negative: tuple[tuple[float, float], ...] = ()  # beside it
    box: tuple[float, float, float, float] | None = None  # y0, x0, y1, x1, around the object

    @property
    def span(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the last place along each axis of what lies on the object."""
        places = np.array(self.positive, dtype=float).reshape(-1, 2)
        if self.box is not None:
            places = np.concatenate([places, np.reshape(self.box, (2, 2))])
        return places.min(0), places.max(0)


@dataclass(frozen=True)
class Window:
    """A square window of the network's grid over an image."""

    grid: Grid
    first: tuple[int, int]  # its first pixel, on the grid

    @classmethod
    def around(cls, centre: Sequence[float], factor: float, shape: tuple[int, int]) -> Window:
        """Return the window around a place of the image, with `factor` network pixels per image pixel."""
        grid = network_grid(shape, factor)
        on_grid = (np.array(centre, dtype=float) + 0.5) / grid.scale - 0.5
        y, x = np.rint(on_grid - (WINDOW_PX - 1) / 2).astype(int).tolist()
        return cls(grid, (y, x))

    @property
    def factor(self) -> float:
        """Pixels of the network for each pixel of the image."""
        return 1 / max(self.grid.scale)

    @property
    def sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Start and stop on the grid, along each axis."""
        y, x = self.first
        return (y, y + WINDOW_PX), (x, x + WINDOW_PX)

    def on_window(self, places: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Return places of the image in pixels of the window, (n, 2)."""
        at = np.reshape(np.array(places, dtype=float), (-1, 2))
        return (at + 0.5) / self.grid.scale - 0.5 - self.first

    def on_image(self, places: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Return places of the window in pixels of the image, (n, 2)."""
        at = np.reshape(np.array(places, dtype=float), (-1, 2))
        return (at + self.first + 0.5) * self.grid.scale - 0.5


@dataclass(frozen=True)
class FoundObject:
    """The object that was pointed at."""

    mask: np.ndarray  # bool (height, width), a part of the image
    corner: tuple[int, int]  # where the part begins, (y, x)
    sureness: float  # how sure the network is of its pixels, 0…1
    window: Window  # of the last look

    @cached_property
    def area(self) -> int:
        """Pixels of the image."""
        return int(np.count_nonzero(self.mask))

    @property
    def place(self) -> tuple[slice, slice]:
        """Return where in the image the mask lies."""
        (y, x), (height, width) = self.corner, self.mask.shape
        return slice(y, y + height), slice(x, x + width)


def normalised(colours: np.ndarray) -> np.ndarray:
    """Scale a window (3, Y, X) so that its percentiles are 0 and 1, and clip what lies far out; float32."""
    known = colours[np.isfinite(colours)]
    if not known.size:
        return np.zeros(colours.shape, np.float32)
    low, high = np.percentile(known, [LOW_PERCENT, HIGH_PERCENT])
    span = high - low if high > low else 1.0
    filled = np.nan_to_num(colours, nan=low, posinf=high, neginf=low)
    return np.clip((filled - low) / span, -0.5, 1.5).astype(np.float32)


def guidance(
    positive: np.ndarray, negative: np.ndarray, box: np.ndarray | None, before: np.ndarray | None, side_px: int
) -> np.ndarray:
    """Draw clicks (n, 2), box (y0, x0, y1, x1) and the mask so far as channels, float32 (4, side_px, side_px)."""
    maps = np.zeros((4, side_px, side_px), np.float32)
    y, x = np.ogrid[:side_px, :side_px]
    for channel, places in ((POSITIVE, positive), (NEGATIVE, negative)):
        for row, column in places:
            maps[channel][(y - row) ** 2 + (x - column) ** 2 <= CLICK_RADIUS_PX**2] = 1
    if box is not None:
        y0, x0, y1, x1 = box
        maps[BOX] = (y >= y0) & (y <= y1) & (x >= x0) & (x <= x1)
    if before is not None:
        maps[BEFORE] = before
    return maps


def find_object(
    network: Network, read: Read, shape: tuple[int, int], clicks: Clicks, usual_px: float | None = None
) -> FoundObject:
    """Find the object that is pointed at.

    Parameters
    ----------
    read : function
        Reads the colours of a window of the image, float32 (3, Y, X).
    shape : (int, int)
        Height and width of the image.
    clicks : Clicks
        At least one click on the object, or a box.
    usual_px : float, optional
        About how large the object is, such as the last one that was found: the scale of the first look.
    """
    look = Look(network, read, shape, clicks)
    window = look.first_window(usual_px)
    chance = look.at(window, None)
    farther = look.wider(window)
    if usual_px is None and clicks.box is None and farther.factor < window.factor:
        other = look.at(farther, None)
        if look.merit(other) > look.merit(chance):
            window, chance = farther, other
    for step in range(MOST_STEPS):
        wider = look.wider(window)
        is_whole = look.extent(chance) < CROWDED * WINDOW_PX and (chance.max() > 0.5 or step == MOST_STEPS_EMPTY)
        if is_whole or wider.factor > window.factor / CLOSE_ENOUGH:
            break
        window, chance = wider, look.at(wider, None)
    closer = look.closer(window, chance)
    if closer is not None:
        before = look.moved(chance > 0.5, window, closer)
        window, chance = closer, look.at(closer, before)
    return look.on_image(window, chance)


FEWEST_SHARED, LARGEST_CHANGE, LEAST_SURENESS = 0.4, 2.5, 0.5
"""An object is followed into the next plane while it overlaps itself (IoU) by at least the first, its area changes by
at most the second factor, and the network is at least so sure."""


def follow_object(network: Network, read: Read, shape: tuple[int, int], before: FoundObject) -> FoundObject | None:
    """Find an object in the plane beside the one it was found in; None where it ends, or is no longer sure.

    The click lies in the middle of the object in the plane before, and the window is of the same scale.
    """
    (y, x), middle = before.corner, deepest(before.mask)
    look = Look(network, read, shape, Clicks(((float(middle[0]) + y, float(middle[1]) + x),)))
    height, width = before.mask.shape
    window = Window.around((y + (height - 1) / 2, x + (width - 1) / 2), before.window.factor, shape)
    found = look.on_image(window, look.at(window, None))
    if not found.area:
        return None
    change = found.area / before.area
    is_same = overlap(found, before) >= FEWEST_SHARED and 1 / LARGEST_CHANGE <= change <= LARGEST_CHANGE
    return found if is_same and found.sureness >= LEAST_SURENESS else None


def sureness_of(chance: np.ndarray) -> float:
    """Return how sure the network is of the pixels of a mask, and of those that it nearly holds: 0…1."""
    return float(2 * np.abs(chance[chance > 0.25] - 0.5).mean()) if (chance > 0.5).any() else 0.0


def deepest(mask: np.ndarray) -> np.ndarray:
    """Return the pixel of a mask that is farthest from its edge, (y, x)."""
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.array(np.unravel_index(int(inside.argmax()), mask.shape))


def overlap(one: FoundObject, other: FoundObject) -> float:
    """Return the intersection over union of two objects of planes of the same size."""
    low = [max(a.start, b.start) for a, b in zip(one.place, other.place, strict=True)]
    high = [min(a.stop, b.stop) for a, b in zip(one.place, other.place, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return 0.0
    parts = [
        each.mask[tuple(slice(a - c, b - c) for a, b, c in zip(low, high, each.corner, strict=True))]
        for each in (one, other)
    ]
    shared = int(np.count_nonzero(parts[0] & parts[1]))
    return shared / (one.area + other.area - shared)


@dataclass(frozen=True)
class Look:
    """Looks of a network at windows of an image."""

    network: Network
    read: Read
    shape: tuple[int, int]
    clicks: Clicks

    @property
    def least_factor(self) -> float:
        """The scale at which the window holds the whole image."""
        return min(1.0, WINDOW_PX / max(self.shape))

    def first_window(self, usual_px: float | None) -> Window:
        """Return the window of the first look: around all clicks on the object, or the box."""
        low, high = self.clicks.span
        centre = (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2)
        side = float(max(high - low))
        if self.clicks.box is not None:
            factor = BOX_FILLED * WINDOW_PX / max(side, 1.0)
        else:
            factor = FILLED * WINDOW_PX / usual_px if usual_px else 1.0
            factor = min(factor, BOX_FILLED * WINDOW_PX / max(side, 1.0))
        return Window.around(centre, min(max(factor, self.least_factor), LARGEST_FACTOR), self.shape)

    def wider(self, window: Window) -> Window:
        """Return the window around the same place, from farther away."""
        centre = window.on_image([[(WINDOW_PX - 1) / 2] * 2])[0]
        return Window.around(centre, max(window.factor * STEP_BACK, self.least_factor), self.shape)

    def at(self, window: Window, before: np.ndarray | None) -> np.ndarray:
        """Return the chance of each pixel of a window to be of the object, float32 (WINDOW_PX, WINDOW_PX)."""
        box = None if self.clicks.box is None else window.on_window(np.reshape(self.clicks.box, (2, 2))).ravel()
        drawn = guidance(
            window.on_window(self.clicks.positive), window.on_window(self.clicks.negative), box, before, WINDOW_PX
        )
        colours = normalised(read_window(self.read, window.grid, window.sides))
        chance = self.network.forward(np.concatenate([colours, drawn])[None])["classes"][0, 1]
        return self.pieces_meant(chance, window)

    def pieces_meant(self, chance: np.ndarray, window: Window) -> np.ndarray:
        """Leave out pieces of the mask without a click; with a box alone, all but the largest piece."""
        pieces, count = ndimage.label(chance > 0.5)
        if count < 2:
            return chance
        at = np.rint(window.on_window(self.clicks.positive)).astype(int)
        at = at[((at >= 0) & (at < WINDOW_PX)).all(1)]
        kept = set(pieces[at[:, 0], at[:, 1]].tolist()) - {0}
        kept = kept or {int(np.bincount(pieces.ravel())[1:].argmax()) + 1}
        return np.where(np.isin(pieces, [0, *kept]), chance, np.float32(0))

    @staticmethod
    def extent(chance: np.ndarray) -> float:
        """Return the longer side of the mask in a window, px; 0 without one."""
        places = np.nonzero(chance > 0.5)
        return max((float(np.ptp(along)) + 1 for along in places), default=0.0) if len(places[0]) else 0.0

    @staticmethod
    def merit(chance: np.ndarray) -> float:
        """Return how well a window suits its mask: how sure the network is, less where the mask is cut or tiny."""
        extent = Look.extent(chance)
        is_cut, is_tiny = extent >= CROWDED * WINDOW_PX, extent <= TINY_PX
        return sureness_of(chance) * (OF_CUT if is_cut else OF_TINY if is_tiny else 1)

    def closer(self, window: Window, chance: np.ndarray) -> Window | None:
        """Return the window in which the object fills its usual share; None if it nearly does, or nothing is found."""
        places = np.argwhere(chance > 0.5)
        if not len(places):
            return None
        low, high = places.min(0), places.max(0)
        factor = window.factor * FILLED * WINDOW_PX / float((high - low + 1).max())
        factor = min(max(factor, self.least_factor), LARGEST_FACTOR)
        centre = window.on_image((low + high) / 2)[0]
        is_same_scale = max(factor / window.factor, window.factor / factor) < CLOSE_ENOUGH
        off = np.abs((low + high) / 2 - (WINDOW_PX - 1) / 2).max()
        if is_same_scale and off < WINDOW_PX / 6:
            return None
        return Window.around(centre, factor, self.shape)

    @staticmethod
    def moved(mask: np.ndarray, window: Window, other: Window) -> np.ndarray:
        """Return a mask in one window as it lies in another one."""
        at = np.arange(WINDOW_PX)
        places = other.on_image(np.stack([at, at], 1))
        rows, columns = np.rint(window.on_window(places)).astype(int).T
        inside = [(each >= 0) & (each < WINDOW_PX) for each in (rows, columns)]
        taken = mask[np.ix_(np.clip(rows, 0, WINDOW_PX - 1), np.clip(columns, 0, WINDOW_PX - 1))]
        return taken & inside[0][:, None] & inside[1][None]

    def on_image(self, window: Window, chance: np.ndarray) -> FoundObject:
        """Bring the mask of a window to the pixels of the image."""
        places = np.argwhere(chance > 0.5)
        if not len(places):
            return FoundObject(np.zeros((0, 0), bool), (0, 0), 0.0, window)
        ends = window.on_image(np.stack([places.min(0) - 1, places.max(0) + 1]))
        low = np.maximum(np.floor(ends[0]), 0).astype(int)
        high = np.minimum(np.ceil(ends[1]) + 1, self.shape).astype(int)
        rows, columns = (np.arange(first, last) for first, last in zip(low, high, strict=True))
        down = interpolation_weights(window.on_window(np.stack([rows, rows], 1))[:, 0], WINDOW_PX)
        across = interpolation_weights(window.on_window(np.stack([columns, columns], 1))[:, 1], WINDOW_PX)
        tall = chance[down.low] * (1 - down.share)[:, None] + chance[down.high] * down.share[:, None]
        wide = tall[:, across.low] * (1 - across.share) + tall[:, across.high] * across.share
        mask = wide > 0.5
        return FoundObject(mask, (int(low[0]), int(low[1])), sureness_of(chance) if mask.any() else 0.0, window)
