"""Predict the scores of an image of any size, window by window, and blend overlapping windows.

Windows fade into each other, so that the labels do not depend on their position; only a few are in memory at a time.
They begin at multiples of the network's step, so that its pooling always pools the same pixels. At the image's edge
they reach one step beyond, where the image is mirrored.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_tessera.core.errors import WARNING, lacks_memory, say_once
from napari_tessera.core.jobs import BEAT_SECONDS, Job, Progress
from napari_tessera.inference.pixel_grid import Grid, Read, read_window

if TYPE_CHECKING:
    import torch

    from napari_tessera.inference.predictor import Network
    from napari_tessera.models.unet import UNetArchitecture

SMALLEST_SIDE_PX = 32
FADE_SHARE = 1 / 3
"""Share of the halo in which two neighbouring windows fade into each other."""
OPERATIONS_AT_ONCE = {"cpu": 135e9, "mps": 500e9, "cuda": 2000e9}
"""Work in a window: a fraction of a second on a slow device of each kind. Fixed, so that a run can be repeated."""
MORE_FOR_VOLUMES = 4
"""In a volume most of a small window is halo; larger ones, in a second or two, compute less twice."""
WINDOWS_AT_ONCE = {"cpu": 1, "mps": 1, "cuda": 4}
"""Windows in a batch: a graphics card computes several faster than one after the other."""
SHARE_OF_FREE_MEMORY = 0.4
"""Share of the free memory that a batch may take."""


@dataclass(frozen=True)
class Span:
    """One window along one axis, in pixels of the network's grid."""

    read: tuple[int, int]  # what the network reads, from start to stop; outside the image, it is mirrored
    write: tuple[int, int]  # what the window contributes to
    weight: np.ndarray  # float32, by how much; the weights of all windows add up to 1 at each pixel

    @property
    def inner(self) -> slice:
        """Where `write` lies inside `read`."""
        return slice(self.write[0] - self.read[0], self.write[1] - self.read[0])


def spans(size: int, side: int, step: int, halo: int) -> list[Span]:
    """Cover one axis of `size` pixels with windows that decide about `side` pixels each.

    The windows are as even as their step allows, and no larger than `side`, rounded up to `step`. `halo`, in multiples
    of `step`, is what a window reads beyond what it decides.
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


def computed_pixels(size: Sequence[int], side: int, step: int, halo: int) -> int:
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


def unet_pixels_at_once(architecture: UNetArchitecture, kind: str, dtype: torch.dtype) -> int:
    """Return how many pixels a window may hold, by the time it takes and by the memory there is."""
    from napari_tessera.models import device as devices

    more = MORE_FOR_VOLUMES if architecture.ndim == 3 else 1
    by_time = more * OPERATIONS_AT_ONCE[kind] / architecture.operations_per_pixel
    free = SHARE_OF_FREE_MEMORY * devices.free_bytes(kind) / WINDOWS_AT_ONCE[kind]
    return int(min(by_time, free / architecture.bytes_per_pixel(dtype)))


MOST_READ_PX = 8e6
"""Most pixels of the image to read for one window, where a large image is shrunk a lot."""

SMALLER_TILES = (
    "Memory did not suffice for tiles of {wanted} px, so they are {side} px wide: that takes longer, and labels may "
    "differ a little where tiles meet. Close other programs, or choose a smaller `tile_size` from the start."
)

Scores = dict[str, np.ndarray]
"""By head, float32 (K, [Z,] Y, X) on the network's grid."""
Window = tuple[Span, ...]
"""A window of the network's grid: one span per axis."""
Done = TypeVar("Done")


def predict(
    network: Network,
    grid: Grid,
    read: Read,
    *,
    tile_px: int | None = None,
    augment: bool = False,
    halo_px: int | None = None,
) -> Job[Scores]:
    """Predict the scores of an image by head, float32 (K, [Z,] Y', X') on the network's grid.

    Closing the job returns at once; a window that is being computed is finished in the background and forgotten.

    Parameters
    ----------
    network : Network
    grid : Grid
        The network's pixels over the image, along as many axes as the network has.
    read : callable
        Gives the network's channels of a window of the image, float32 (C, [Z,] Y, X); it is called from one other
        thread, for one window at a time.
    tile_px : int, optional
        Side of what a window decides, in network pixels; by default as large as time and memory allow. After an
        out-of-memory error it is halved.
    augment : bool
        Average over the 4 mirror images, in 3-D 8: slower by as much, a little better.
    halo_px : int, optional
        How far a window reads beyond what it decides; by default what the network needs.

    Raises
    ------
    OutOfMemory
        If memory does not suffice for the smallest windows.
    RunError
        If the network fails otherwise.
    """
    step = network.step
    halo = -(-(network.halo_px if halo_px is None else halo_px) // step) * step
    at_once = int(min(network.pixels_at_once(), MOST_READ_PX * grid.share))
    # A tile larger than the image is no larger than the image: halving it must make a difference.
    side = largest_side(grid.size, step, halo, at_once) if tile_px is None else min(tile_px, max(grid.size))

    def predict_with(side: int) -> Job[Scores]:
        windows = list(itertools.product(*(spans(size, side, step, halo) for size in grid.size)))
        return _predict_windows(network, grid, read, windows, augment)

    return (yield from with_smaller_tiles(predict_with, side, SMALLEST_SIDE_PX))


def with_smaller_tiles(run: Callable[[int], Job[Done]], side: int, smallest: int) -> Job[Done]:
    """Run a job with tiles of `side` pixels; as often as memory does not suffice, again with tiles half as wide."""
    while True:
        try:
            return (yield from run(side))
        except Exception as error:
            if side <= smallest or not lacks_memory(error):
                raise
        gc.collect()  # the error's traceback may hold what the tile had taken
        wanted, side = side, max(smallest, side // 2)
        say_once(SMALLER_TILES.format(wanted=wanted, side=side), WARNING)


def _predict_windows(network: Network, grid: Grid, read: Read, windows: list[Window], augment: bool) -> Job[Scores]:
    """Compute batch after batch in one thread, while another one reads what comes next."""
    scores: Scores = {}
    mirrors = list(itertools.product([False, True], repeat=network.ndim)) if augment else [(False,) * network.ndim]
    done, total = 0, len(windows)
    batches = list(same_sized(windows, network.windows_at_once))
    with reader_and_worker() as (reading, computing):
        coming = [reading.submit(_read_batch, read, grid, batches[0])]
        for index, batch in enumerate(batches):
            text = f"Tile {min(done + len(batch), total)} of {total} on {network.device.title}"
            images = yield from waited_for(coming.pop(), Progress(done, total, text))
            if index + 1 < len(batches):
                coming.append(reading.submit(_read_batch, read, grid, batches[index + 1]))
            for turn, mirror in enumerate(mirrors):
                step = Progress(done + len(batch) * turn / len(mirrors), total, text)
                found = yield from waited_for(computing.submit(_mirrored_forward, network, images, mirror), step)
                _add(scores, found, batch, grid, 1 / len(mirrors))
            done += len(batch)
    return scores


@contextmanager
def reader_and_worker() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Open a thread to read and one to compute; at the end they are not joined."""
    reading, computing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    try:
        yield reading, computing
    finally:
        for each in (reading, computing):
            each.shutdown(wait=False, cancel_futures=True)


def waited_for(future: Future[Done], progress: Progress) -> Job[Done]:
    """Wait for another thread, with a sign of life every now and then."""
    while not wait([future], BEAT_SECONDS).done:
        yield progress
    yield progress
    return future.result()


def same_sized(windows: Iterable[Window], most: int) -> Iterator[list[Window]]:
    """Group windows that follow each other and read equally many pixels, `most` at once."""
    for _, group in itertools.groupby(windows, key=lambda window: [span.read[1] - span.read[0] for span in window]):
        while batch := list(itertools.islice(group, most)):
            yield batch


def _read_batch(read: Read, grid: Grid, batch: Sequence[Window]) -> np.ndarray:
    return np.stack([read_window(read, grid, [span.read for span in window]) for window in batch])


def _mirrored_forward(network: Network, images: np.ndarray, mirror: Sequence[bool]) -> Scores:
    """Compute the scores of a mirror image, and mirror them back."""
    axes = tuple(axis - network.ndim for axis, is_mirrored in enumerate(mirror) if is_mirrored)
    return {name: np.flip(each, axes) for name, each in network.forward(np.flip(images, axes)).items()}


def _add(scores: Scores, found: Scores, batch: Sequence[Window], grid: Grid, share: float) -> None:
    """Add the scores of a batch of windows, each pixel by its weight."""
    for name, values in found.items():
        if name not in scores:
            scores[name] = np.zeros((values.shape[1], *grid.size), np.float32)
        for window, window_scores in zip(batch, values, strict=True):
            part = window_scores[(slice(None), *(span.inner for span in window))] * np.float32(share)
            for axis, span in enumerate(window):
                part = part * span.weight.reshape(-1, *[1] * (len(window) - axis - 1))
            scores[name][(slice(None), *(slice(*span.write) for span in window))] += part
