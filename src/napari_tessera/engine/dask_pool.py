"""Run block tasks with dask, in local threads or on the workers of a scheduler, and monitor their progress.

A task reads its blocks and returns a few numbers, so memory never holds the whole image. A thread cannot be stopped
from outside: at each of its steps a task reports its progress and checks whether it was asked to stop.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import dask
import dask.array as da
import numpy as np

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import BEAT_SECONDS, Job, Progress, worker_count

if TYPE_CHECKING:
    from napari_tessera.engine.block_passes import Output


Outcome = TypeVar("Outcome")

LONGEST_WAIT_S = 0.4
"""A closed job waits this long for its tasks to reach their next step, where they end in any case."""
THREADS = "tessera-blocks"
"""Name of the threads."""


class Stopped(Exception):
    """A task was asked to stop."""


class TaskMonitor:
    """Progress of tasks in other threads, and the request to stop."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.stop = threading.Event()
        self._fractions = [0.0] * total

    @property
    def done(self) -> float:
        """Finished tasks, plus the fraction of running ones."""
        return sum(self._fractions)

    def drive(self, number: int, job: Job[Outcome] | Outcome) -> Outcome:
        """Run the job of task `number` in this thread to its end, or raise `Stopped` when it is asked to stop."""
        if not isinstance(job, Generator):
            return job
        try:
            while not self.stop.is_set():
                self._fractions[number] = next(job).fraction
            raise Stopped
        except StopIteration as end:
            self._fractions[number] = 1.0
            return end.value
        finally:
            job.close()


def monitor(work: Callable[[], Any], watch: TaskMonitor, text: str) -> Job[Any]:
    """Run `work` in a thread, and yield the progress of its tasks every 50 ms; it ends after `watch.stop` is set."""
    helper = ThreadPoolExecutor(1, THREADS)
    yield Progress(0, watch.total, text)
    running = helper.submit(work)
    try:
        while not wait([running], BEAT_SECONDS).done:
            yield Progress(watch.done, watch.total, text)
        return running.result()
    finally:
        watch.stop.set()
        wait([running], LONGEST_WAIT_S)
        helper.shutdown(wait=False)


Task = Callable[..., Any]
"""Function of arrays and other arguments that returns a job or a result. It loads lazy arrays with `read`."""
Arguments = Sequence[tuple[Any, ...]]
"""The arguments of each task."""
Receive = Callable[[Any], Any]
"""Function that gets each result at once, in the process that runs the job, and returns what to keep."""


@dataclass(frozen=True)
class Made(Sequence[tuple[Any, ...]]):
    """Arguments that are made just before their task, in the process that runs the job."""

    make: Callable[[Any], tuple[Any, ...]]
    items: Sequence[Any]

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.items)

    def __getitem__(self, number: Any) -> Any:
        """Make the arguments of one task."""
        return self.make(self.items[number])


def unchanged(outcome: Any) -> Any:
    """Return a result as it is."""
    return outcome


class Pool(Protocol):
    """Where tasks run. A task may run again if a worker is lost, so repetition must not change the result."""

    def run(self, task: Task, arguments: Arguments, text: str, receive: Receive = unchanged) -> Job[list[Any]]:
        """Run `task` with each of the arguments, and return the received results in order.

        Closing the job stops the running tasks.
        """
        ...

    def reaches(self, output: Output) -> bool:
        """Return whether tasks can access these labels themselves."""
        ...

    def narrowed(self) -> Pool:
        """Return a pool for tasks that each use all cores of a computer."""
        ...


@dataclass(frozen=True)
class Threads:
    """Threads on this computer; a task reads its own arrays, so only the running ones are in memory."""

    count: int
    is_wish: bool = False

    def run(self, task: Task, arguments: Arguments, text: str, receive: Receive = unchanged) -> Job[list[Any]]:
        """Run the tasks in threads; progress includes the progress within tasks."""
        watch = TaskMonitor(len(arguments))

        def work(number: int) -> Any:
            return receive(watch.drive(number, task(*arguments[number])))

        def compute() -> list[Any]:
            with ThreadPoolExecutor(self.count, THREADS) as executor:
                try:
                    tasks = [_task(work, number) for number in range(len(arguments))]
                    return list(dask.compute(*tasks, scheduler="threads", pool=executor))
                finally:
                    watch.stop.set()

        return (yield from monitor(compute, watch, text))

    def reaches(self, output: Output) -> bool:
        """Return True: threads share the memory of this process."""
        return True

    def narrowed(self) -> Threads:
        """Return one thread, unless the user asked for more."""
        return self if self.is_wish else Threads(1)


def _task(work: Callable[[int], Any], number: int) -> Any:
    """Make a dask task with a name that keeps neighbouring tasks in order."""
    return dask.delayed(partial(work, number), pure=False)(dask_key_name=f"task-{number:09d}")


@contextlib.contextmanager
def pool(n_workers: int | None, scheduler: str | None) -> Iterator[Pool]:
    """Open a pool: `n_workers` threads, or the dask.distributed scheduler at an address."""
    if scheduler is None:
        yield Threads(n_workers or worker_count(), is_wish=n_workers is not None)
        return
    from napari_tessera.engine.cluster import cluster

    with cluster(scheduler) as elsewhere:
        yield elsewhere


def lazy(array: Any) -> Any:
    """Wrap a zarr or dask array so that only requested parts are read; a NumPy array is unchanged."""
    return array if isinstance(array, np.ndarray) else da.asarray(array)


def read(array: Any) -> np.ndarray:
    """Load a lazy array into memory, in this thread, and check that it has the declared shape and dtype."""
    if not isinstance(array, da.Array):
        return np.asarray(array)
    found = array.compute(scheduler="synchronous")
    if np.ma.is_masked(found):
        raise InputError(
            "A part of the dask array has a mask, which the array does not declare. Give `meta` in map_blocks."
        )
    found = np.asarray(found)
    if (found.dtype, found.shape) != (array.dtype, array.shape):
        raise InputError(
            f"A part of the dask array should be {array.dtype} of shape {array.shape}, as the array declares, "
            f"but it is {found.dtype} of shape {found.shape}. Give the correct `dtype` and `chunks` in the call "
            "of map_blocks or from_delayed."
        )
    return found
