"""`tessera train` that is killed, stopped or too slow, and how it goes on."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_tessera.cli.main import main
from napari_tessera.cli.train import stop_on_ctrl_c
from napari_tessera.core.jobs import run_job
from napari_tessera.models.header import read_header
from napari_tessera.training import resolve, session
from napari_tessera.training.settings import checked_settings
from tests.helpers.disc_folder import QUICK, same_weights, train, write_discs


@pytest.fixture
def folder(tmp_path):
    return write_discs(tmp_path)


def killed_run(folder, *more):
    """Start a training in another process, and return it once it has reported a step."""
    start = "import sys; from napari_tessera.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "train", str(folder / "images"), str(folder / "labels")]
    command += ["-o", str(folder / "model.safetensors"), *QUICK, "--steps", "2000", "--save-every", "0", *more]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    saved = folder / "model.safetensors.checkpoint"
    until = time.monotonic() + 60
    seen = set()  # the second checkpoint is written after the first step was reported
    while len(seen) < 2 and run.poll() is None and time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            seen.add(saved.stat().st_mtime_ns)
        time.sleep(0.01)
    return run, saved


def test_a_killed_run_leaves_a_checkpoint_and_no_model(folder):
    run, saved = killed_run(folder)
    run.kill()
    run.communicate()
    assert saved.exists()
    assert not (folder / "model.safetensors").exists()


def test_a_second_training_of_the_same_model_is_refused_while_the_first_runs(folder, capsys):
    run, _ = killed_run(folder)
    try:
        assert train(folder) == 1
        assert "Another training is writing" in capsys.readouterr().err
    finally:
        run.kill()
        run.communicate()
    assert train(folder, "--restart") == 0
    assert not list(folder.glob("*.lock"))


def test_a_training_whose_time_is_over_before_its_last_step_is_finished(folder, monkeypatch):
    steps = itertools.count()
    monkeypatch.setattr(resolve, "fit_to_time", lambda seconds, of_step, plan, data: replace(plan, steps=10**6))
    monkeypatch.setattr(session, "over_after", lambda minutes: lambda: next(steps) >= 3)
    without_steps = QUICK[QUICK.index("--widths") :]
    out = folder / "model.safetensors"
    words = ["train", str(folder / "images"), str(folder / "labels"), "-o", str(out), *without_steps]
    assert main([*words, "--minutes", "2", "--quiet"]) == 0
    assert read_header(out)["training"]["steps"] == 4
    assert not out.with_name("model.safetensors.checkpoint").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal for Ctrl-C that a test can send")
def test_ctrl_c_writes_the_best_so_far_and_keeps_the_checkpoint(folder):
    run, saved = killed_run(folder)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "The same command resumes" in said
    assert saved.exists()
    assert read_header(folder / "model.safetensors")["training"]["steps"] < 2000


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal for Ctrl-C that a test can send")
@pytest.mark.parametrize("is_begun", [False, True])
def test_ctrl_c_before_the_first_step_ends_at_once(is_begun):
    begun = threading.Event()
    if is_begun:
        begun.set()
    with stop_on_ctrl_c(begun) as should_stop:
        with contextlib.nullcontext() if is_begun else pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert should_stop() == is_begun


@pytest.fixture
def stopped(folder):
    """A training of four steps that was given up after two: returns the folder."""
    from napari_tessera.training.session import training
    from napari_tessera.training.train import find_sources

    settings = checked_settings({"steps": 4, "widths": "4,8", "patch": 32, "batch": 1, "validations": 2, "threads": 1})
    steps = iter([False, True])
    sources = find_sources(folder / "images", folder / "labels", settings)
    run_job(training(sources, folder / "model.safetensors", settings, should_stop=lambda: next(steps)))
    return folder


def test_a_stopped_run_goes_on_to_the_same_weights(stopped):
    assert train(stopped) == 0
    assert not (stopped / "model.safetensors.checkpoint").exists()
    assert train(stopped, out="whole.safetensors") == 0
    assert same_weights(stopped / "model.safetensors", stopped / "whole.safetensors")


def test_a_changed_setting_is_named_and_how_to_begin_anew(stopped, capsys):
    assert train(stopped, "--batch", "2") == 1
    said = capsys.readouterr().err
    assert "batch was 1 and is 2" in said
    assert "--restart" in said
    assert train(stopped, "--batch", "2", "--restart", "--overwrite") == 0


def test_changed_labels_are_noticed(stopped, capsys):
    path = stopped / "labels" / "im0.png"
    labels = np.array(Image.open(path))
    labels[0, 0] = 1
    Image.fromarray(labels).save(path)
    assert train(stopped) == 1
    assert "labels or their split have changed" in capsys.readouterr().err
