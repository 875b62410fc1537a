"""How many threads work at once."""

import os

import pytest

from napari_tessera.core.jobs import worker_count


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux lets a process be given fewer cores")
def test_no_more_threads_than_cores_that_may_be_used():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert worker_count() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert worker_count() == len(allowed)
