"""Threads of ours are told to stop, and waited for, when the program ends: inside of torch its end would abort it."""

import os
import subprocess
import sys

import pytest

IN_TORCH = """
import sys, threading, time
from napari_tessera.core.daemon_threads import start_thread
import torch
over = threading.Event()
def work():
    while not over.is_set():
        torch.nn.functional.conv2d(torch.zeros(1, 8, 256, 256), torch.zeros(8, 8, 3, 3))
    time.sleep(0.2)
    print("ended", flush=True)
start_thread(work, "work", stop=over.set)
time.sleep(0.2)
"""
LOADING = """
import sys
from napari_tessera.models.load_torch import load_torch
next(load_torch())
"""
FOR_EVER = """
import threading
from napari_tessera.core import daemon_threads as ending
ending.SECONDS_TO_END = 0.3
ending.start_thread(threading.Event().wait, "for ever")
"""

STOPPED = """
import os, signal, threading
from napari_tessera.cli import main as cli, script
signal.signal(signal.SIGINT, signal.default_int_handler)
def press(*_):
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(20)
def work(words):
    threading.Thread(target=threading.Event().wait).start()
    print("begun")
    press()
cli._dispatch = work
{more}
script()
"""


def ended(script):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)


def test_a_thread_in_torch_ends_before_the_program():
    done = ended(IN_TORCH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_the_end_waits_for_torch_to_be_loaded():
    done = ended(LOADING)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_thread_that_does_not_end_keeps_the_program_for_a_while_only():
    assert ended(FOR_EVER).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal for Ctrl-C that a test can send")
@pytest.mark.parametrize(("more", "said"), [("", "Stopped. No half-written"), ("cli._complain = press", "")])
def test_ctrl_c_waits_for_no_thread_once_or_twice(more, said):
    done = ended(STOPPED.format(more=more))
    assert done.returncode == 130
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == "begun\n" or not said
