"""Tasks in threads tell how far they are, and end at their next step when the job is closed."""

import threading
import time

import numpy as np
import pytest

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Progress, run_job
from napari_tessera.engine.api import bind, job
from napari_tessera.engine.dask_pool import THREADS, Threads

STEPS = 5000


def task(steps, number):
    """Yield at every step, a millisecond each."""
    for done in range(STEPS):
        yield Progress(done, STEPS)
        steps.append(number)
        time.sleep(0.001)
    return number


def wait_for_threads_to_end():
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join()


def test_progress_is_told_within_tasks():
    running = Threads(2).run(task, [([], 0), ([], 1)], "Working")
    while (seen := next(running)).done == 0:
        pass
    running.close()
    assert 0 < seen.done < 1
    assert (seen.total, seen.text) == (2, "Working")


def test_closing_stops_the_tasks_under_way_and_begins_no_other():
    steps = []
    running = Threads(2).run(task, [(steps, number) for number in range(5)], "Working")
    while next(running).done == 0:
        pass
    running.close()
    wait_for_threads_to_end()
    assert len(steps) < STEPS
    assert len(set(steps)) <= 2


def test_outcomes_come_in_the_order_of_the_tasks():
    def slow_first(number):
        time.sleep(0.05 * (number == 0))
        return number

    assert run_job(Threads(3).run(slow_first, [(0,), (1,), (2,)], "")) == [0, 1, 2]


def test_error_of_one_task_ends_the_others():
    steps = []

    def failing(number):
        if number == 1:
            raise InputError("no")
        return task(steps, number)

    with pytest.raises(InputError, match="no"):
        run_job(Threads(2).run(failing, [(0,), (1,)], ""))
    assert len(steps) < STEPS


def test_closing_a_run_in_blocks_leaves_no_thread_and_no_half_written_folder(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (600, 600)).astype(np.uint8)
    running = job(bind("watershed", image, blocks=200, out=tmp_path / "labels.zarr"))
    while next(running).text != "Labelling blocks":
        pass
    running.close()
    wait_for_threads_to_end()
    assert not (tmp_path / "labels.zarr").exists()


def test_progress_within_blocks_never_runs_backwards():
    image = np.random.default_rng(0).integers(0, 255, (400, 400)).astype(np.uint8)
    seen = []
    run_job(job(bind("watershed", image, blocks=200)), lambda step: seen.append(step.fraction))
    assert seen == sorted(seen)
