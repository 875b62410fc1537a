"""Where blocks are worked on: threads on this computer, or the workers of a dask.distributed scheduler.

A task reads its blocks, works on them and returns a few numbers; nothing as large as the image is ever held.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import dask
import dask.array as da
import numpy as np

from napari_tessera.bands import worker_count
from napari_tessera.errors import InputError
from napari_tessera.jobs import Job
from napari_tessera.large.watching import THREADS, Watch, watched

if TYPE_CHECKING:
    from napari_tessera.large.frame import Output

Task = Callable[..., Any]
"""Takes arrays and whatever else it needs, and returns a job or an outcome. Lazy arrays it brings in by `read`."""
Arguments = Sequence[tuple[Any, ...]]
"""The arguments of each task."""
Receive = Callable[[Any], Any]
"""Takes an outcome as soon as it is there, in the process that runs the job, and returns what to keep of it."""


@dataclass(frozen=True)
class Made(Sequence[tuple[Any, ...]]):
    """Arguments that are made when the turn comes to their task, in the process that runs the job.

    Attributes
    ----------
    make : callable (item) -> tuple
    items : sequence
    """

    make: Callable[[Any], tuple[Any, ...]]
    items: Sequence[Any]

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.items)

    def __getitem__(self, number: Any) -> Any:
        """Make the arguments of one task."""
        return self.make(self.items[number])


def unchanged(outcome: Any) -> Any:
    """Keep an outcome as it is."""
    return outcome


class Pool(Protocol):
    """Where tasks run. A task may be run again where a worker is lost: it must not matter how often."""

    def run(self, task: Task, arguments: Arguments, text: str, receive: Receive = unchanged) -> Job[list[Any]]:
        """Do `task` with each of the arguments, and return the outcomes, as received, in the order of the arguments.

        Closing the job stops the tasks under way.
        """
        ...

    def reaches(self, output: Output) -> bool:
        """Return whether tasks can write to these labels, and read them, themselves."""
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

    def run(self, task: Task, arguments: Arguments, text: str, receive: Receive = unchanged) -> Job[list[Any]]:
        """Run the tasks in threads; progress is told within tasks too."""
        watch = Watch(len(arguments))

        def work(number: int) -> Any:
            return receive(watch.drive(number, task(*arguments[number])))

        def compute() -> list[Any]:
            with ThreadPoolExecutor(self.count, THREADS) as executor:
                try:
                    tasks = [_task(work, number) for number in range(len(arguments))]
                    return list(dask.compute(*tasks, scheduler="threads", pool=executor))
                finally:
                    watch.stop.set()

        return (yield from watched(compute, watch, text))

    def reaches(self, output: Output) -> bool:
        """Return True: threads share the memory of this process."""
        return True

    def narrowed(self) -> Threads:
        """Return one thread, unless the user asked for more."""
        return self if self.is_wish else Threads(1)


def _task(work: Callable[[int], Any], number: int) -> Any:
    """Make a dask task; by its name it follows its neighbour, where dask has nothing else to go by."""
    return dask.delayed(partial(work, number), pure=False)(dask_key_name=f"task-{number:09d}")


@contextlib.contextmanager
def pool(workers: int | None, scheduler: str | None) -> Iterator[Pool]:
    """Open the place where tasks run: `workers` threads, or the dask.distributed scheduler at an address."""
    if scheduler is None:
        yield Threads(workers or worker_count(), is_wish=workers is not None)
        return
    from napari_tessera.large.cluster import cluster

    with cluster(scheduler) as elsewhere:
        yield elsewhere


def lazy(array: Any) -> Any:
    """Wrap a zarr or dask array so that only what is asked for is read; a NumPy array is there already."""
    return array if isinstance(array, np.ndarray) else da.asarray(array)


def read(array: Any) -> np.ndarray:
    """Bring a lazy array into memory, in this thread.

    Raises
    ------
    InputError
        If a dask array holds something else than it says: what is worked out block by block would be wrong.
    """
    if not isinstance(array, da.Array):
        return np.asarray(array)
    found = np.asarray(array.compute(scheduler="synchronous"))
    if (found.dtype, found.shape) != (array.dtype, array.shape):
        raise InputError(
            f"A part of the dask array should be {array.dtype} of shape {array.shape}, as the array says of itself, "
            f"but it is {found.dtype} of shape {found.shape}. Say how its chunks really are, with `dtype` and `chunks` "
            "of map_blocks or from_delayed."
        )
    return found
