"""The fuzzer: it runs, passes what is right, and notices each kind of fault."""

import os
import signal
import time

import numpy as np
import pytest

from napari_tessera.core.errors import InputError
from tests.fuzz import pool
from tests.fuzz.case import FAULT, REFUSAL, RESULT, Target, Try
from tests.fuzz.pool import Case, endings

N_BYTES = 2**28
INPUT = "input.txt"


def raising(error):
    raise error


def write(folder, name):
    (folder / name).write_text("other")


def ending_so(call, **more):
    """Make the target whose every case makes this call in a folder with one file."""

    def prepare(folder, rng, number):
        (folder / INPUT).write_text("as it was")
        return Try("a call", lambda: call(folder), **more)

    return prepare


ENDINGS = {
    "result": (ending_so(lambda _: 1), RESULT, ""),
    "refusal": (ending_so(lambda _: raising(InputError("Give an image."))), REFUSAL, ""),
    "traceback": (ending_so(lambda _: raising(KeyError("x"))), FAULT, "KeyError"),
    "unkind": (ending_so(lambda _: raising(InputError(" "))), FAULT, "unkind: it is empty"),
    "wrong": (ending_so(lambda _: 1, check=lambda found: f"{found} instead of 2"), FAULT, "wrong: 1 instead of 2"),
    "code": (ending_so(lambda _: 3, is_command=True), FAULT, "exit code 3"),
    "silence": (ending_so(lambda _: 1, is_command=True), FAULT, "unkind: nothing is said"),
    "input": (ending_so(lambda folder: write(folder, INPUT)), FAULT, "files"),
    "left": (ending_so(lambda folder: write(folder, ".out.part"), outputs=("",)), FAULT, "files"),
    "output": (ending_so(lambda folder: write(folder, "out.tif"), outputs=("out",)), RESULT, ""),
    "memory": (ending_so(lambda _: np.ones(N_BYTES, np.uint8).sum()), FAULT, "memory"),
    "hang": (ending_so(lambda _: time.sleep(60)), FAULT, "hang"),
    "endless": (ending_so(lambda _: [None for _ in iter(int, 1) if False]), FAULT, "hang"),
    "crash": (ending_so(lambda _: os.kill(os.getpid(), signal.SIGTERM)), FAULT, "crash"),
}
TARGETS = [Target(name, prepare) for name, (prepare, _, _) in ENDINGS.items()]
"""What the fuzzer's own processes find here."""


@pytest.fixture(scope="module")
def found():
    """How the fuzzer says that a case of each target ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "DEADLINE_SECONDS", 1.0)
        patch.setattr(pool, "MOST_BYTES", N_BYTES)
        cases = iter([Case(name, 0, 0) for name in ENDINGS])
        return {ended.case.target: ended.outcome for ended in endings(cases, 2, __name__)}


@pytest.mark.parametrize("name", ENDINGS)
def test_it_tells_how_a_case_ended(name, found):
    _, ending, kind = ENDINGS[name]
    assert found[name].ending == ending
    assert found[name].kind.startswith(kind)


def test_thirty_damaged_pictures_pass(capsys):
    from tests.fuzz.run import main

    assert main(["--only", "png", "--cases", "30", "--processes", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "30 passed, 0 failed"
