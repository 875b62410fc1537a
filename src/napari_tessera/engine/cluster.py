"""Run tasks on the workers of a dask.distributed scheduler, which may be on other computers.

Workers read image files and write label folders themselves. Arrays in this process's memory are sent block by block,
and so are labels. A zarr array is opened again in the worker. zarr reads a missing chunk as zeros, so a missing folder
would be an empty image: the worker first checks that the folder exists.
"""

from __future__ import annotations

import contextlib
import io
import math
import pickle
import platform
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import zarr
from zarr.storage import LocalStore

from napari_tessera.core.errors import FileError, RunError, TesseraError
from napari_tessera.core.jobs import BEAT_SECONDS, Job, Progress, run_job
from napari_tessera.engine.dask_pool import Arguments, Receive, Stopped, Task, read, unchanged

if TYPE_CHECKING:
    from napari_tessera.engine.block_passes import Output


METADATA = ("zarr.json", ".zarray")
"""The folder of every zarr array has one of these files."""


@dataclass(frozen=True)
class Folder:
    """A zarr array in a folder."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    is_read_only: bool

    @classmethod
    def of(cls, array: Any) -> Folder:
        """Return the path of a zarr array with a `LocalStore`."""
        path = Path(array.store.root, array.path).absolute()
        return cls(path, tuple(array.shape), str(array.dtype), array.read_only)

    def open(self) -> zarr.Array:
        """Open the array; raise `FileNotFoundError` if it does not exist, or is another array."""
        if any((self.path / name).is_file() for name in METADATA):
            array = zarr.open_array(self.path, mode="r" if self.is_read_only else "r+")
            if (tuple(array.shape), str(array.dtype)) == (self.shape, self.dtype):
                return array
        raise FileNotFoundError(2, "No such zarr array", str(self.path))


def packed(task: Any) -> bytes:
    """Pickle a task with its arguments; a dask array is computed here if its graph holds more than its pixels."""
    file = io.BytesIO()
    _Packer(file).dump(task)
    return file.getvalue()


def unpacked(task: bytes) -> Any:
    """Unpickle a task, and open the arrays in folders that it needs; raise `FileNotFoundError` if one is missing."""
    return _Unpacker(io.BytesIO(task)).load()


class _Packer(cloudpickle.Pickler):
    """Pickles an array in a folder as its path, and a dask array as its graph or, if needed, as its pixels."""

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, zarr.Array) and isinstance(thing.store, LocalStore):
            return Folder.of(thing)
        return _lazily(thing) if isinstance(thing, da.Array) else None


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, sent: Any) -> Any:
        if isinstance(sent, Folder):
            return sent.open()
        return unpacked(sent) if isinstance(sent, bytes) else sent


class _Held(Exception):
    """The graph of a dask array holds arrays in memory."""


class _LazyPacker(_Packer):
    """Pickles the graph of a dask array, unless that includes arrays in memory of more than `most_bytes`."""

    def __init__(self, file: io.BytesIO, most_bytes: int) -> None:
        super().__init__(file)
        self.left = most_bytes

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, da.Array):
            return None
        if isinstance(thing, np.ndarray):
            self.left -= thing.nbytes
            if self.left < 0:
                raise _Held
        return super().persistent_id(thing)


def _lazily(array: da.Array) -> bytes | np.ndarray:
    (needed,) = dask.optimize(array)
    file = io.BytesIO()
    try:
        _LazyPacker(file, int(array.nbytes)).dump(needed)
    except (_Held, TypeError, AttributeError, pickle.PicklingError):
        return read(array)
    return file.getvalue()


TASKS_PER_THREAD = 2
"""Tasks per worker thread: one running, one waiting."""
LONGEST_WITHOUT_WORKERS_S = 120.0
LONGEST_TRANSFER_S = 60.0
"""A result that takes longer is requested again."""
BETWEEN_COUNTS_S = 1.0
MOST_AT_A_TIME = 4
"""Results received between two progress reports."""
LARGE_CALL = "distributed.admin.large-graph-warning-threshold"


@dataclass(frozen=True)
class Cluster:
    """A dask.distributed scheduler and its workers."""

    client: Any
    address: str

    def run(self, task: Task, arguments: Arguments, text: str, receive: Receive = unchanged) -> Job[list[Any]]:
        """Run the tasks, some at a time; when the job is closed, a running task ends at its next step."""
        outcomes: list[Any] = [None] * len(arguments)
        under_way: dict[Any, int] = {}
        workers = _Workers(self)
        sent = 0
        try:
            while sent < len(arguments) or under_way:
                threads = workers.threads()
                has_room = sent < len(arguments) and len(under_way) < TASKS_PER_THREAD * max(1, threads)
                if has_room:
                    under_way[self._send(task, arguments[sent])] = sent
                    sent += 1
                arrived = self._arrived(under_way)
                for future, outcome in arrived:
                    outcomes[under_way.pop(future)] = receive(outcome)
                yield Progress(sent - len(under_way), len(arguments), text if threads else "Waiting for workers")
                if not (arrived or has_room):
                    time.sleep(BEAT_SECONDS)
        finally:
            self._cancel(list(under_way))
        return outcomes

    def reaches(self, output: Output) -> bool:
        """Return whether labels are in a folder: workers cannot access this process's memory."""
        return not output.is_held

    def narrowed(self) -> Cluster:
        """Return the same workers: their number of threads is fixed when they start."""
        return self

    def threads(self) -> int:
        """Return the number of threads of all workers."""
        with _in_words(self.address):
            return sum(self.client.nthreads().values())

    def _send(self, task: Task, arguments: tuple[Any, ...]) -> Any:
        call = packed((task, arguments))
        with _in_words(self.address), dask.config.set({LARGE_CALL: len(call) + 2**20}):
            return self.client.submit(_work, call, pure=False)

    def _arrived(self, futures: Iterable[Any]) -> list[tuple[Any, Any]]:
        """Return the finished tasks with their results, some at a time."""
        arrived = []
        for future in [future for future in futures if future.done()][:MOST_AT_A_TIME]:
            if future.status == "error":
                raise _explained(future.exception())
            with _in_words(self.address), contextlib.suppress(TimeoutError):
                arrived.append((future, future.result(timeout=LONGEST_TRANSFER_S)))
        return arrived

    def _cancel(self, futures: list[Any]) -> None:
        """Tell the scheduler that these tasks are not needed; ignore a scheduler that is gone."""
        if futures and self.client.status == "running":
            with contextlib.suppress(OSError, TimeoutError, CancelledError):
                self.client.cancel(futures)


@dataclass
class _Workers:
    """The number of workers, updated now and then."""

    cluster: Cluster
    count: int = 0
    counted: float = -math.inf
    seen: float = field(default_factory=time.monotonic)

    def threads(self) -> int:
        """Return the number of threads of all workers; raise `RunError` if there has been no worker for long."""
        now = time.monotonic()
        if now - self.counted < BETWEEN_COUNTS_S:
            return self.count
        self.count, self.counted = self.cluster.threads(), now
        if self.count:
            self.seen = now
        elif now - self.seen > LONGEST_WITHOUT_WORKERS_S:
            raise RunError(
                f"The dask scheduler at {self.cluster.address} has had no worker for {now - self.seen:.0f} seconds. "
                f"Start workers, with `dask worker {self.cluster.address}`, and run this again."
            )
        return self.count


def _work(call: bytes) -> Any:
    """Unpack and run a task on a worker."""
    try:
        task, arguments = unpacked(call)
        return _driven(task(*arguments))
    except FileNotFoundError as error:
        raise FileError(
            f"The worker on {platform.node()} cannot find {error.filename or error}. Images, models and the folder "
            "for the labels must have the same path on all computers: use a disk that they share, or "
            "leave out `scheduler`."
        ) from error


def _driven(job: Any) -> Any:
    """Run a job to its end, or to the step at which its task is cancelled."""
    from distributed import get_worker

    if not isinstance(job, Generator):
        return job
    tasks, key = get_worker().state.tasks, get_worker().get_current_task()

    def go_on(_: Progress) -> None:
        if key in tasks and tasks[key].state == "cancelled":
            raise Stopped

    return run_job(job, go_on)


def _explained(error: BaseException) -> BaseException:
    """Explain the error of workers that died during a task; other errors are the task's own."""
    from distributed import KilledWorker

    if not isinstance(error, KilledWorker):
        return error
    return RunError(
        f"{error.allowed_failures + 1} workers ended while they processed the same block, probably because of too "
        "little memory. Choose smaller `blocks`, or give the workers fewer threads or more memory."
    )


@contextlib.contextmanager
def _in_words(address: str) -> Iterator[None]:
    """Explain the error of a scheduler that is gone."""
    try:
        yield
    except TesseraError:
        raise
    except (OSError, CancelledError) as error:
        raise RunError(
            f"The dask scheduler at {address} no longer answers ({error}). Start it and its workers again, and "
            "run this again."
        ) from error


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """Connect to a dask.distributed scheduler."""
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError('A scheduler needs dask.distributed: pip install "dask[distributed]".') from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)  # this process's own arrays are computed here
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"No dask scheduler answers at {address!r} ({error}). Start one with `dask scheduler`."
        ) from error
    with client:
        yield Cluster(client, address)
