"""A call in a child process: the same answer, ended at once, and what goes wrong there is told."""

import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil
import pytest

from napari_tessera.core.child_process import run_in_child
from napari_tessera.core.errors import ParameterError, RunError
from napari_tessera.core.jobs import run_job
from tests.helpers import child_functions

SECONDS_TO_CANCEL = 0.5
ARRAY = np.arange(6).reshape(2, 3)

on_unix = pytest.mark.skipif(sys.platform == "win32", reason="Signals and libc's sleep are Unix's")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def files_left(folder):
    return [path for path in folder.rglob("*") if path.name.startswith("tessera-")]


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_answer_is_that_of_the_function_and_nothing_stays_behind(folder):
    found = run_job(run_in_child(child_functions.doubled, ARRAY, plus=1))
    np.testing.assert_array_equal(found, [[1, 3, 5], [7, 9, 11]])
    assert files_left(folder) == []


@on_unix
def test_a_child_that_holds_the_lock_is_ended_at_once_and_leaves_its_parent_free(folder):
    told = folder / "process"
    job = run_in_child(child_functions.hold_lock, ARRAY, told=str(told))
    slowest, started = 0.0, time.monotonic()
    while not (told.exists() and told.read_text()):
        before = time.monotonic()
        next(job)
        slowest = max(slowest, time.monotonic() - before)
        assert time.monotonic() - started < 60
    process = int(told.read_text())
    assert is_running(process)
    before = time.monotonic()
    job.close()
    assert time.monotonic() - before < SECONDS_TO_CANCEL
    assert not is_running(process)
    assert files_left(folder) == []
    assert slowest < SECONDS_TO_CANCEL


KILLED = """
import sys
import numpy as np
from napari_tessera.core.child_process import run_in_child
from napari_tessera.core.jobs import run_job
from tests.helpers import child_functions
run_job(run_in_child(child_functions.hold_lock, np.zeros(3), told=sys.argv[1]))
"""


@on_unix
def test_a_child_that_holds_the_lock_ends_when_its_parent_is_killed(folder):
    told = folder / "process"
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(told)])
    until = time.monotonic() + 60
    while not (told.exists() and told.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    child = psutil.Process(int(told.read_text()))
    parent.kill()
    parent.wait()
    until = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)


@on_unix
def test_a_crash_of_native_code_becomes_a_sentence():
    with pytest.raises(RunError, match=r"computed crash was ended by SIGSEGV; nothing else was harmed"):
        run_job(run_in_child(child_functions.crash, ARRAY))


def test_a_child_that_leaves_without_an_answer_is_told():
    with pytest.raises(RunError, match="computed leave ended with code 7"):
        run_job(run_in_child(child_functions.leave, ARRAY))


def test_an_error_for_the_user_comes_back_as_it_is():
    with pytest.raises(ParameterError, match="`sigma` is too large") as raised:
        run_job(run_in_child(child_functions.refuse, ARRAY))
    assert raised.value.parameter == "sigma"


def test_any_other_error_is_told_in_a_sentence():
    with pytest.raises(RunError, match="fail failed in its process: KeyError: 'no such thing'"):
        run_job(run_in_child(child_functions.fail, ARRAY))
