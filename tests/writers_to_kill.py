"""Kill a writer before each of its file operations, and look at what the next run leaves of it.

Run as a program, ``writers_to_kill.py 1`` kills before each operation of each writer, ``writers_to_kill.py 3 model``
before every third one of one writer; it prints how often, and what was wrong. Each killed writer is a child of this
process, so that a kill takes milliseconds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import dask
import numpy as np
import tifffile

from napari_tessera.core.atomic_writes import HIDDEN, write_whole
from napari_tessera.core.result import LabelImage, Result
from napari_tessera.core.spatial import Spatial
from napari_tessera.io.annotation_store import STATE, discard_old
from napari_tessera.io.write import write_result

KILLED = 9
IN_MEMORY = "/dev/shm"
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
INSIDE_ZARR = re.compile(rf"{HIDDEN}/\w+/new/[^/]+/.*/")
"""Chunks of an array that is not yet in its place: whether there are more or fewer of them makes no difference."""
OTHER = "other.txt"


def kill_before(number):
    """End this process, without a chance to clear up, before its file operation of this number."""
    left = number

    def look(event, arguments):
        nonlocal left
        is_change = event in CHANGES or (event == "open" and arguments[2] & WRITING)
        if event == "fsync" or (is_change and not INSIDE_ZARR.search(str(arguments[0]))):
            if left == 0:
                os._exit(KILLED)
            left -= 1

    fsync = os.fsync

    def noted_fsync(handle):
        look("fsync", ())
        fsync(handle)

    os.fsync = noted_fsync
    sys.addaudithook(look)


def in_child(work, kill_at):
    """Do the work in a child process; return whether it came to its end."""
    child = os.fork()
    if child == 0:
        kill_before(kill_at)
        work()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, KILLED):
        sys.exit(f"The writer failed with exit code {code}.")
    return code == 0


def contents(folder):
    """Return what all files below a folder hold; of models and checkpoints all tensors, but not when they were made."""
    return {str(path.relative_to(folder)): content_of(path) for path in folder.rglob("*") if path.is_file()}


def content_of(path):
    """Return what a file holds, so that it can be compared."""
    content = path.read_bytes()
    if path.name.endswith(".ome.tif"):
        return tifffile.imread(path).tolist()  # each file has an identifier of its own
    if path.suffix == ".npz":
        return int(np.load(path)["paint"].max())
    if path.name == "annotation.json":
        return {name: value for name, value in json.loads(content).items() if name != "changed"}
    if not path.name.startswith("model.safetensors"):
        return content
    from safetensors.numpy import load

    return {name: array.tolist() for name, array in load(content).items()}


def result(value, dtype=np.int32):
    """Return a result of two label images with a table."""
    spatial = Spatial.plain("YX")
    data = np.full((2, 3), value, dtype)
    table = {"label": np.array([value]), "num_pixels": np.array([6])}
    return Result((LabelImage("one", data, spatial, "objects", table), LabelImage("two", data, spatial, "classes", {})),
                  {"method": "threshold", "value": value})  # fmt: skip


def results(ending):
    """Write a result; see `WRITERS`."""

    def write(folder, value, overwrite):
        write_result(result(value), folder / f"cells{ending}", overwrite=overwrite)

    return write


def model(folder, value, overwrite):
    """Write a model and its report, as at the end of a training."""
    from napari_tessera.core.jobs import run_job
    from napari_tessera.training.config import TrainingConfig
    from napari_tessera.training.data.dataset import Dataset
    from napari_tessera.training.export import describe, write_model
    from napari_tessera.training.settings import checked_settings

    data = Dataset(learn=[], check=[], kind="colours", n_channels=3, n_classes=2, digest="")
    header = describe(folder / "model.safetensors", checked_settings({"title": str(value)}), TrainingConfig(), data)
    run_job(
        write_model(
            folder / "model.safetensors", header, learnt(value), TrainingConfig(), data, "cpu", overwrite=overwrite
        )
    )


def checkpoint(folder, value, overwrite):
    """Write a checkpoint; it replaces the one before in any case."""
    from napari_tessera.training.checkpoint import Checkpoint

    Checkpoint(folder / "model.safetensors.checkpoint", {"value": value}).save(learnt(value))


def imported(folder, value, overwrite):
    """Import a model file."""
    from napari_tessera.models.registry import import_model
    from tests.helpers.model_bytes import sound_model, with_fields

    os.environ["TESSERA_MODELS"] = str(folder)
    with tempfile.TemporaryDirectory() as away:
        file = Path(away) / "file.safetensors"
        file.write_bytes(with_fields(sound_model(), name="mine", title=str(value)))
        import_model(file, overwrite=overwrite)


def coco(folder, value, overwrite):
    """Write two images as COCO panoptic."""
    from napari_tessera.core.labels import Segments
    from napari_tessera.io.coco_panoptic import write_coco_panoptic

    table = {"label": [value], "class": ["cell"], "kind": ["thing"]}
    segments = Segments.of_table(np.full((2, 3), value), {name: np.array(column) for name, column in table.items()})
    write_coco_panoptic(folder / "scene.json", [("a.tif", segments), ("b.tif", segments)], overwrite=overwrite)


def scores(folder, value, overwrite):
    """Evaluate, and write the scores as JSON."""
    from napari_tessera.cli.evaluate import main

    with tempfile.TemporaryDirectory() as away:
        truth = Path(away) / "truth.npy"
        labels = np.zeros((4, 4), np.int32)
        labels[0], labels[3] = 1, value
        np.save(truth, labels)
        main([str(truth), str(truth), "--json", str(folder / "scores.json"), "--quiet", *["--overwrite"] * overwrite])


def remembered(folder, value, overwrite):
    """Remember the settings of a method."""
    from napari_tessera.gui.form import form as settings
    from napari_tessera.methods.registry import method_named

    settings.save(method_named("threshold"), {"sigma": float(value)}, folder / "settings.json")


def annotation(folder, value, overwrite):
    """Save two blocks of paint, as a session does that begins an annotation or goes on with it."""
    from napari_tessera.io.annotation_store import PaintCopy

    copy = PaintCopy(folder / "one", (256, 512))
    state = {"dtype": "uint8", "name": str(value)}
    copy.save_state(state, has_changed=True)
    has_changed = [copy.update((0, place), np.full((256, 256), value, np.uint8)) for place in range(2)]
    copy.save_state(state, has_changed=any(has_changed))
    copy.close()


def blocks(folder, value, overwrite):
    """Segment in blocks into a zarr array."""
    from napari_tessera.engine.blockwise import make_output

    with make_output(str(folder / "labels.zarr"), (4, 4), (2, 2), np.int32) as output:
        output[:] = value


WRITERS = {
    **{ending: results(ending) for ending in (".tif", ".ome.tif", ".ome.zarr", ".png", ".npy")},
    "model": model, "checkpoint": checkpoint, "import": imported, "coco": coco, "evaluate": scores,
    "settings": remembered, "blocks": blocks, "annotation": annotation,
}  # fmt: skip
ONLY_NEW = ("blocks",)
ONLY_OVER = ("checkpoint", "settings")


def learnt(value):
    """Return the state of a training: a network of few weights, all of them `value`."""
    import torch

    torch.set_num_threads(1)  # a child has no other threads
    from napari_tessera.models.unet import UNet, UNetArchitecture
    from napari_tessera.training.config import TrainingConfig
    from napari_tessera.training.loop import start

    net = UNet(UNetArchitecture(5, {"classes": 3, "distance": 1}, (2, 3), 2))
    with torch.no_grad():
        for each in net.parameters():
            each.fill_(value)
    return start(net, TrainingConfig().schedule(), None)


def file_by_file(found, allowed):
    """Return whether each file of paint is the old or the new one, and no old one is missing."""
    old, new = allowed
    return old.keys() <= found.keys() and all(
        content in (old.get(name), new.get(name)) or Path(name).name == STATE for name, content in found.items()
    )


def faults_of(write, overwrite, every):
    """Kill a writer before each (or every so manieth) operation; return how often, and what was wrong after which."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if os.path.isdir(IN_MEMORY) else None) as name:
        before, new, tried = (Path(name) / each for each in ("before", "new", "tried"))
        before.mkdir()
        (before / "foreign.txt").write_text("Not of this run.")
        if overwrite:
            write(before, 1, True)  # here, so that what is imported and compiled by the way is so for all children
        shutil.copytree(before, new)
        write(new, 2, overwrite)
        allowed, faults, number, has_ended = (contents(before), contents(new)), [], 0, False
        assert allowed[0] != allowed[1]
        while not has_ended:
            shutil.copytree(before, tried)
            has_ended = in_child(lambda: write(tried, 2, overwrite), kill_at=number)
            write_whole(tried / OTHER, b"of the next run")
            discard_old(tried)  # as at the start of the next session
            found = contents(tried)
            del found[OTHER]
            if not (file_by_file(found, allowed) if write is annotation else found in allowed):
                faults.append(f"killed at {number}: {sorted(found)}")
            if list(tried.rglob(HIDDEN)):
                faults.append(f"killed at {number}: {HIDDEN} is left")
            shutil.rmtree(tried)
            number += every
        return number // every - 1, faults


if __name__ == "__main__":
    every, names = int(sys.argv[1]), sys.argv[2:] or WRITERS
    dask.config.set(scheduler="synchronous")
    for name in names:
        for overwrite in (False, True):
            if name not in (ONLY_OVER, ONLY_NEW)[overwrite]:
                kills, faults = faults_of(WRITERS[name], overwrite, every)
                print(
                    json.dumps({"writer": name, "overwrite": overwrite, "kills": kills, "faults": faults}), flush=True
                )
