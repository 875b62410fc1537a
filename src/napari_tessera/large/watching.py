"""Jobs that run in other threads: how far they have come, and the word to stop.

A task in a thread cannot be ended from outside. It looks up at each of its own steps, notes how far it is, and ends
there if it has been told to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

from napari_tessera.jobs import Job, Progress

Outcome = TypeVar("Outcome")

BETWEEN_LOOKS_S = 0.05
LONGEST_WAIT_S = 0.4
"""A job that is closed waits this long for its tasks to come to their next step; they end there in any case."""
THREADS = "tessera-blocks"
"""What the threads are called."""


class Stopped(Exception):
    """A task was told to stop."""


class Watch:
    """What a job and its tasks in other threads tell each other.

    Parameters
    ----------
    total : int
        Number of tasks.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.stop = threading.Event()
        self._fractions = [0.0] * total

    @property
    def done(self) -> float:
        """Tasks finished, those under way by their fraction."""
        return sum(self._fractions)

    def drive(self, number: int, job: Job[Outcome] | Outcome) -> Outcome:
        """Run the job of task `number` to its end in this thread, or up to the step at which it is told to stop.

        Raises
        ------
        Stopped
        """
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


def watched(work: Callable[[], Any], watch: Watch, text: str) -> Job[Any]:
    """Run `work` in a helper thread, and yield how far its tasks are every 50 ms; closing the job tells them to stop.

    Parameters
    ----------
    work : callable
        Ends soon after `watch.stop` is set.
    watch : Watch
    text : str
    """
    helper = ThreadPoolExecutor(1, THREADS)
    yield Progress(0, watch.total, text)
    running = helper.submit(work)
    try:
        while not wait([running], BETWEEN_LOOKS_S).done:
            yield Progress(watch.done, watch.total, text)
        return running.result()
    finally:
        watch.stop.set()
        wait([running], LONGEST_WAIT_S)
        helper.shutdown(wait=False)
