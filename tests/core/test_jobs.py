"""How many threads work at once, and what is done in the background."""

import os
import threading
import time

import pytest

from napari_tessera.core.jobs import (
    Progress,
    finish_writing,
    run_job,
    start_writing,
    stepped_in_background,
    worker_count,
)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux lets a process be given fewer cores")
def test_no_more_threads_than_cores_that_may_be_used():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert worker_count() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert worker_count() == len(allowed)


def test_steps_in_the_background_give_progress_and_result():
    def job():
        yield Progress(1, 2, "first", {"loss": 1})
        time.sleep(0.12)
        yield Progress(2, 2, "second")
        return 7

    texts = []
    found = run_job(stepped_in_background(job()), lambda step: texts.append((step.text, step.data)))
    assert found == 7
    assert [each for each in texts if each[1]] == [("first", {"loss": 1})]
    assert texts.count(("first", None)) >= 1
    assert texts[-1] == ("second", None)


def test_an_error_of_a_step_in_the_background_is_raised():
    def job():
        yield Progress(0, 1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_job(stepped_in_background(job()))


def test_a_closed_job_does_not_wait_for_its_step_in_the_background_and_is_closed_after_it():
    is_closed = threading.Event()

    def job():
        try:
            time.sleep(0.6)
            yield Progress(1, 1)
        finally:
            is_closed.set()

    running = stepped_in_background(job())
    next(running)
    next(running)  # while the job sleeps
    began = time.monotonic()
    running.close()
    assert time.monotonic() - began < 0.4
    assert is_closed.wait(5)


def test_files_are_written_one_after_the_other_and_waited_for(tmp_path):
    def write(text, seconds):
        time.sleep(seconds)
        (tmp_path / "a").write_text(text)

    start_writing(lambda: write("first", 0.2))
    written = start_writing(lambda: write("second", 0))
    assert not written.done()
    finish_writing()
    assert written.done()
    assert (tmp_path / "a").read_text() == "second"


def test_an_error_while_writing_is_that_of_its_file_alone():
    with pytest.raises(OSError, match="full"):
        start_writing(lambda: (_ for _ in ()).throw(OSError("full"))).result()
    start_writing(lambda: None).result()
