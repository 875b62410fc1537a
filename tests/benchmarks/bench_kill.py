"""Kill a training at random moments, let it go on each time, and compare: python bench_kill.py [--kills 20].

The training is the command `tessera train` in a process of its own, ended with SIGKILL, on Linux or macOS: right after
its start, while it learns and validates, or in the midst of writing a file. After each kill every model and checkpoint
file there is must be complete; in the end the weights must be those of a training that nobody disturbed.
"""

import argparse
import multiprocessing
import signal
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np
from small_training import command, tensors_of, write_discs

MOMENTS = ("start", "learning", "learning", "writing", "writing")
LATE_KILLS = 2
"""The last kills, when the training is done and the model is being written."""
SHARE_PER_SITTING = 1 / 15
"""Longest sitting, as a share of an undisturbed training: so that it does not end before all kills are done."""


def run(arguments):
    """Do what the command `tessera` does."""
    from napari_tessera.cli.main import main

    sys.exit(main(arguments))


def started(arguments):
    child = multiprocessing.get_context("fork").Process(target=run, args=(arguments,))
    child.start()
    return child


def undisturbed(folder, steps):
    """Train without a kill; return the model and the seconds between its first and its last checkpoint."""
    out = folder / "whole" / "model.safetensors"
    child, began = started(command(folder, out, steps)), None
    saved = out.with_name(out.name + ".checkpoint")
    while child.is_alive():
        began = time.perf_counter() if began is None and saved.exists() else began
        time.sleep(0.005)
    if child.exitcode:
        sys.exit(f"The training failed by itself with exit code {child.exitcode}.")
    return out, time.perf_counter() - began


def state_of(path):
    """Return what changes when a file is replaced."""
    return path.stat().st_mtime_ns if path.exists() else 0


def is_writing(folder, name, seen):
    """Say whether there is a half-written file that is to become `name`, and was not there before."""
    return bool(parts_in(folder, name) - seen)


def parts_in(folder, name="*"):
    """Return the files that are being written, or were when their writer was killed."""
    return {part for part in folder.glob(f".tessera/**/new/{name}") if part.is_file()}


def wait_for(moment, child, saved, seen, seconds, rng):
    """Wait until it is time to kill."""
    if moment == "writing the model":
        while child.is_alive() and not is_writing(saved.parent, "model.safetensors", seen):
            pass
        return
    before, until = state_of(saved), time.perf_counter() + 120
    if moment == "start":
        time.sleep(rng.uniform(0, 0.3))
        return
    while state_of(saved) == before and child.is_alive() and time.perf_counter() < until:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, seconds * SHARE_PER_SITTING))
    while moment == "writing" and child.is_alive() and not is_writing(saved.parent, saved.name, seen):
        pass


def check_files(folder):
    """Return how far the checkpoint is, and whether there is a model; a damaged file raises an error."""
    from napari_tessera.models.weights import load_model
    from napari_tessera.training.checkpoint import read_checkpoint

    step, has_model = 0, False
    for path in folder.iterdir():
        if path.name.endswith(".checkpoint"):
            step = read_checkpoint(path)[1]["step"]
        elif path.suffix == ".safetensors":
            load_model(path)
            has_model = True
    return step, has_model


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--steps", type=int, default=400)
    options.add_argument("--seed", type=int, default=0, help="of the random moments")
    chosen = options.parse_args()
    import_module("napari_tessera.training.unet_task")  # so that each child starts at once
    rng = np.random.default_rng(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_discs(folder)
        whole, seconds = undisturbed(folder, chosen.steps)
        print(f"undisturbed: {chosen.steps} steps in {seconds:.1f} s")
        out = folder / "killed" / "model.safetensors"
        out.parent.mkdir()
        is_same = kill_again_and_again(folder, out, chosen, seconds, rng) and tensors_of(out) == tensors_of(whole)
    print("final weights:", "identical to the undisturbed training" if is_same else "DIFFERENT")
    sys.exit(0 if is_same else 1)


def kill_again_and_again(folder, out, chosen, seconds, rng):
    """Kill, check, go on; return whether it was killed as often as asked, and finished in the end."""
    saved, seen, half_written = out.with_name(out.name + ".checkpoint"), set(), 0
    print("| kill | moment | in the midst of writing | checkpoint at step | model | files |\n|---|---|---|---|---|---|")
    for kill in range(1, chosen.kills + 1):
        is_late = kill > chosen.kills - LATE_KILLS
        moment = "writing the model" if is_late else MOMENTS[kill % len(MOMENTS)]
        child = started(command(folder, out, chosen.steps))
        wait_for(moment, child, saved, seen, seconds, rng)
        child.kill()
        child.join()
        if child.exitcode != -signal.SIGKILL:
            print(f"It ended before kill {kill} with exit code {child.exitcode}; give more --steps.")
            return False
        parts = parts_in(out.parent)
        is_half_written, seen = bool(parts - seen), seen | parts
        half_written += is_half_written
        step, has_model = check_files(out.parent)
        said = ("yes" if is_half_written else "no", step, "there" if has_model else "not yet", "all complete")
        print(f"| {kill} | {moment} | " + " | ".join(map(str, said)) + " |", flush=True)
    child = started(command(folder, out, chosen.steps))
    child.join()
    print(f"{kill} kills, {half_written} in the midst of writing; the last sitting ended with {child.exitcode}")
    return child.exitcode == 0


if __name__ == "__main__":
    main()
