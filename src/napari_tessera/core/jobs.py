"""A job is a generator that yields `Progress` and returns its result; it may work on pieces of an array in threads.

To cancel a job, close the generator.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any, TypeVar, cast, overload

Result = TypeVar("Result")
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Progress:
    """The progress of a job.

    Parameters
    ----------
    done, total : float
        Work finished and work in total, in the same arbitrary unit.
    text : str
        What is being done now, in a few plain words.
    data : object, optional
        Intermediate data to show (a prediction, a loss).
    """

    done: float
    total: float
    text: str = ""
    data: Any = None

    @property
    def fraction(self) -> float:
        """Work done, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


Job = Generator[Progress, None, Result]


@overload
def run_job(job: Job[Result], on_progress: Callable[[Progress], None] | None = None) -> Result: ...


@overload
def run_job(job: Result, on_progress: Callable[[Progress], None] | None = None) -> Result: ...


def run_job(job: Job[Result] | Result, on_progress: Callable[[Progress], None] | None = None) -> Result:
    """Run a job to its end and return its result; a value that is not a generator is returned as it is.

    The generator is always closed, so that a job stopped half-way (Ctrl-C) cleans up at once.
    """
    if not isinstance(job, Generator):
        return job
    try:
        while True:
            step = next(job)
            if on_progress is not None:
                on_progress(step)
    except StopIteration as end:
        return end.value
    finally:
        job.close()


def subtask(job: Job[Result], done: float, share: float, total: float) -> Job[Result]:
    """Run `job` as one part of a larger job: its progress is mapped to [done, done + share] of `total`."""
    try:
        while True:
            step = next(job)
            yield replace(step, done=done + share * step.fraction, total=total)
    except StopIteration as end:
        return end.value
    finally:
        job.close()


def monotonic(job: Job[Result]) -> Job[Result]:
    """Keep a job's progress from going backwards when its parts overlap."""
    furthest = 0.0
    try:
        while True:
            step = next(job)
            furthest = max(furthest, step.fraction)
            yield replace(step, done=furthest, total=1)
    except StopIteration as end:
        return end.value
    finally:
        job.close()


Piece = tuple[slice, ...]

PIECE_PX = 2**18
"""Pixels in one piece: a few milliseconds of pointwise work."""
BEAT_SECONDS = 0.05
"""Time between two progress reports of a long call."""


def worker_count() -> int:
    """Return the number of threads: one per core that this process may use on a cluster, or under `taskset`."""
    given = getattr(os, "sched_getaffinity", None)  # on Linux only
    return len(given(0)) if given else os.cpu_count() or 1


def pieces(shape: tuple[int, ...], piece_px: int = PIECE_PX) -> list[Piece]:
    """Cut `shape` along its longest axis into pieces of about `piece_px` pixels and at least one row, in order."""
    axis = max(range(len(shape)), key=lambda axis: shape[axis])
    row_px = max(1, math.prod(shape) // max(1, shape[axis]))
    rows = max(1, piece_px // row_px)
    everything = [slice(0, length) for length in shape]
    cuts = [slice(start, min(start + rows, shape[axis])) for start in range(0, shape[axis], rows)]
    return [(*everything[:axis], cut, *everything[axis + 1 :]) for cut in cuts]


def middle(shape: tuple[int, ...], sides: tuple[int, ...]) -> Piece:
    """Return the middle part of an array, with these sides or less.

    Examples
    --------
    >>> middle((9, 4), (3, 6))
    (slice(3, 6, None), slice(0, 4, None))
    """
    starts = (max(0, (length - side) // 2) for length, side in zip(shape, sides, strict=True))
    return tuple(
        slice(start, min(length, start + side)) for start, length, side in zip(starts, shape, sides, strict=True)
    )


def bands(length: int, index_px: int) -> list[slice]:
    """Cut an axis of `length` into slices of about `PIECE_PX` pixels, where one index holds `index_px` of them."""
    return [band for (band,) in pieces((length,), max(1, PIECE_PX // max(1, index_px)))]


def in_threads(work: Callable[[Item], Outcome], items: Sequence[Item], text: str = "") -> Job[list[Outcome]]:
    """Call `work` on each item in threads, and return the results in the order of the items.

    At most two calls per worker are running or waiting, so that little is left to finish when the job is closed.
    """
    outcomes: list[Outcome] = []
    waiting: deque[Future[Outcome]] = deque()
    remaining = iter(items)
    pool = ThreadPoolExecutor(worker_count())
    try:
        for done in range(len(items)):
            yield Progress(done, len(items), text)
            while len(waiting) < 2 * worker_count() and done + len(waiting) < len(items):
                waiting.append(pool.submit(work, next(remaining)))
            outcomes.append(waiting.popleft().result())
    finally:
        pool.shutdown(cancel_futures=True)
    return outcomes


def in_background(work: Callable[[], Outcome], text: str = "") -> Job[Outcome]:
    """Call `work` in a thread, if it cannot be cut into pieces and releases the interpreter lock.

    A closed job does not wait: the thread finishes alone, and its result is dropped.
    """
    pool = ThreadPoolExecutor(1)
    try:
        running = pool.submit(work)
        while True:
            yield Progress(0, 1, text)
            if wait([running], BEAT_SECONDS).done:
                return running.result()
    finally:
        pool.shutdown(wait=False)


def stepped_in_background(job: Job[Result]) -> Job[Result]:
    """Run each step of a job in a thread. If this is closed, it does not wait for the step, after which the job ends.

    For jobs with long steps that only read: what they read may change during a step that nothing waits for.
    """

    def step() -> tuple[Progress, None] | tuple[None, Result]:
        try:
            return next(job), None
        except StopIteration as end:
            return None, end.value

    pool, shown = ThreadPoolExecutor(1), Progress(0, 1)
    try:
        while True:
            running = pool.submit(step)
            while not wait([running], BEAT_SECONDS).done:
                yield shown
            progress, result = running.result()
            if progress is None:
                return cast(Result, result)
            yield progress
            shown = replace(progress, data=None)
    finally:
        with suppress(RuntimeError):  # the program ends
            pool.submit(job.close)
        pool.shutdown(wait=False)


_writers: list[Thread] = []
"""The thread that was started last to write a file. Python waits for it at the end of the program."""


def start_writing(work: Callable[[], None]) -> Future[None]:
    """Call `work`, which writes a file, in a thread, after all earlier ones; the program does not end before it."""
    written: Future[None] = Future()
    earlier = list(_writers)

    def write() -> None:
        for thread in earlier:
            thread.join()
        try:
            work()
            written.set_result(None)
        except Exception as error:
            written.set_exception(error)

    thread = Thread(target=write)
    try:
        thread.start()
    except RuntimeError:  # the program ends
        write()
    else:
        _writers[:] = [thread]
    return written


def finish_writing() -> None:
    """Wait for all files of `start_writing`; call it before one of them is read."""
    for thread in _writers:
        thread.join()
