"""Where blocks are worked on, with dask: threads on this computer, or any dask.distributed scheduler.

This is the only file that knows dask. A task reads its blocks, works on them and returns a few numbers; nothing as
large as the image is ever held.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import dask
import dask.array as da
import numpy as np

from napari_tessera.bands import worker_count
from napari_tessera.errors import RunError
from napari_tessera.jobs import Job, Progress, drive
from napari_tessera.large.watching import BETWEEN_LOOKS_S, THREADS, Watch, watched

Task = Callable[..., Any]
"""Takes arrays and whatever else it needs, and returns a job or an outcome. Lazy arrays it brings in by `read`."""
TASKS_PER_THREAD = 2
"""Tasks that a scheduler elsewhere is given at a time."""


class Pool(Protocol):
    """Where tasks run."""

    def run(self, task: Task, arguments: Sequence[tuple[Any, ...]], text: str) -> Job[list[Any]]:
        """Do `task` with each of the arguments, and return the outcomes in their order.

        Closing the job stops the tasks under way.
        """
        ...

    def narrowed(self) -> Pool:
        """Return a pool for tasks that each use all processors of a computer."""
        ...


@dataclass(frozen=True)
class Threads:
    """Threads on this computer; a task reads its arrays itself, so that no more is held than is worked on.

    Attributes
    ----------
    count : int
        Threads.
    is_wish : bool
        Whether the user asked for that many.
    """

    count: int
    is_wish: bool = False

    def run(self, task: Task, arguments: Sequence[tuple[Any, ...]], text: str) -> Job[list[Any]]:
        """Run the tasks in threads; progress is told within tasks too."""
        watch = Watch(len(arguments))

        def work(number: int) -> Any:
            return watch.drive(number, task(*arguments[number]))

        def compute() -> list[Any]:
            with ThreadPoolExecutor(self.count, THREADS) as executor:
                try:
                    tasks = [_task(work, number) for number in range(len(arguments))]
                    return list(dask.compute(*tasks, scheduler="threads", pool=executor))
                finally:
                    watch.stop.set()

        return (yield from watched(compute, watch, text))

    def narrowed(self) -> Threads:
        """Return one thread, unless the user asked for more."""
        return self if self.is_wish else Threads(1)


def _task(work: Callable[[int], Any], number: int) -> Any:
    """Make a dask task; by its name it follows its neighbour, where dask has nothing else to go by."""
    return dask.delayed(partial(work, number), pure=False)(dask_key_name=f"task-{number:09d}")


@dataclass(frozen=True)
class Cluster:
    """A dask.distributed scheduler and its workers, maybe on other computers.

    Attributes
    ----------
    client : distributed.Client
    """

    client: Any

    def run(self, task: Task, arguments: Sequence[tuple[Any, ...]], text: str) -> Job[list[Any]]:
        """Run the tasks some at a time; a task already begun when the job is closed goes on to its end, unheard."""
        delayed = dask.delayed(partial(_driven, task), pure=False)
        batch = TASKS_PER_THREAD * max(1, sum(self.client.nthreads().values()))
        outcomes: list[Any] = []
        for start in range(0, len(arguments), batch):
            futures = self.client.compute([delayed(*each) for each in arguments[start : start + batch]])
            try:
                while not all(future.done() for future in futures):
                    finished = sum(future.done() for future in futures)
                    yield Progress(start + finished, len(arguments), text)
                    time.sleep(BETWEEN_LOOKS_S)
                outcomes += self.client.gather(futures)
            finally:
                self.client.cancel(futures)
        return outcomes

    def narrowed(self) -> Cluster:
        """Return the same workers: how many threads each has was decided when they were started."""
        return self


def _driven(task: Task, *arguments: Any) -> Any:
    return drive(task(*arguments))


@contextlib.contextmanager
def pool(workers: int | None, scheduler: str | None) -> Iterator[Pool]:
    """Open the place where tasks run: `workers` threads, or the dask.distributed scheduler at an address."""
    if scheduler is None:
        yield Threads(workers or worker_count(), is_wish=workers is not None)
        return
    with _client(scheduler) as client:
        yield Cluster(client)


def _client(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError('A scheduler needs dask.distributed: pip install "dask[distributed]".') from error
    try:
        return Client(scheduler, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"No dask scheduler answers at {scheduler!r} ({error}). Start one with `dask scheduler`."
        ) from error


def lazy(array: Any) -> da.Array:
    """Wrap a NumPy, zarr or dask array so that only what is asked for is read."""
    return da.asarray(array)


def read(array: Any) -> np.ndarray:
    """Bring a lazy array into memory, in this thread."""
    return np.asarray(array.compute(scheduler="synchronous") if isinstance(array, da.Array) else array)
