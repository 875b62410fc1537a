"""A job is a generator that yields `Progress` and returns its result.

A job knows no threads and no window. To cancel it, close the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload

Result = TypeVar("Result")


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
