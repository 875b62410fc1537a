"""Writers that are killed, and writers of the same file at the same time, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the writers are forked")
HERE = Path(__file__).parent
WRITERS = (
    ".tif", ".ome.tif", ".ome.zarr", ".png", ".npy", "model", "checkpoint", "import", "coco", "evaluate", "settings",
    "blocks", "annotation",
)  # fmt: skip
EVERY = 6
"""Writers are killed before every sixth of their file operations; the program that does it can do it before each."""


def said_by(program, *arguments):
    """Run a program beside the tests, and return the lines of JSON that it prints."""
    paths = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, str(HERE / program), *map(str, arguments)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def killed():
    return said_by("writers_to_kill.py", EVERY)


@pytest.mark.parametrize("name", WRITERS)
def test_after_a_kill_the_next_run_leaves_the_old_files_or_the_new_ones(killed, name):
    of_writer = [each for each in killed if each["writer"] == name]
    assert sum(each["kills"] for each in of_writer) >= 3
    assert [fault for each in of_writer for fault in each["faults"]] == []


@pytest.fixture(scope="module")
def at_once():
    return {each["what"]: each for each in said_by("writers_at_once.py", 8)}


@pytest.mark.parametrize("what", ["output", "shared record", "model", "case of letters", "coco"])
def test_of_eight_at_once_one_writes_and_the_others_are_refused(at_once, what):
    codes, errors = at_once[what]["codes"], at_once[what]["errors"]
    assert sorted(codes) == [0] + 7 * [1]
    refusals = ("exists already", "is writing", "is a model")
    refused = [error for code, error in zip(codes, errors, strict=True) if code]
    assert all(any(text in error for text in refusals) for error in refused)


def test_settings_saved_at_once_are_all_kept(at_once):
    assert at_once["settings"]["kept"] == 8
