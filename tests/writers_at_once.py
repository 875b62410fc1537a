"""Let several processes write the same at the same time; print as JSON how each of them ended.

Run as a program, ``writers_at_once.py 8``. The processes are forked, and wait for each other before they begin.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np

from napari_tessera.cli.main import main as tessera_command
from napari_tessera.core.errors import TesseraError

FAILED = 1


def at_once(count, work):
    """Call `work` with the number of each process; return the exit codes, and what each said of its failure."""
    with tempfile.TemporaryDirectory() as name:
        waiting, start = os.pipe()
        children = []
        for number in range(count):
            if not (child := os.fork()):
                os.close(start)
                os.read(waiting, 1)  # until the parent closes the other end
                code = ended(work, number, Path(name) / str(number))
                os._exit(code)
            children.append(child)
        os.close(waiting)
        os.close(start)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        return codes, [(Path(name) / str(number)).read_text() for number in range(count)]


def ended(work, number, told):
    """Do the work of a process; return its exit code, and write what it says to a file."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = work(number) or 0
        except TesseraError as error:
            code = FAILED
            said.write(str(error))
    told.write_text(said.getvalue())
    return code


def main(count, folder):
    """Let processes write the same labels, model, COCO file and settings."""
    from tests.helpers.model_bytes import sound_model, with_fields

    image = folder / "image.npy"
    np.save(image, np.random.default_rng(0).random((64, 64)))
    os.environ["TESSERA_MODELS"] = str(folder / "models")
    for name in ("Mine", "mine"):
        (folder / f"{name}.file").write_bytes(with_fields(sound_model(), name=name, title=name))

    def threshold(out, *more):
        return tessera_command(["threshold", str(image), "-o", str(folder / out), *more])

    def imported(name):
        return tessera_command(["models", "import", str(folder / f"{name}.file")])

    def coco(number):
        from napari_tessera.core.labels import Segments
        from napari_tessera.io.coco_panoptic import write_coco_panoptic

        table = {"label": np.array([1]), "class": np.array(["cell"]), "kind": np.array(["thing"])}
        write_coco_panoptic(folder / "scene.json", [("a.tif", Segments.of_table(np.ones((2, 3), int), table))])

    def remembered(number):
        from napari_tessera.gui.form import form as settings
        from napari_tessera.methods.registry import METHODS

        settings.save(METHODS[number], {}, folder / "settings.json")

    with contextlib.redirect_stdout(io.StringIO()):
        threshold("first.npy")  # here, so that what is imported and compiled by the way is so for all children
    tell("output", at_once(count, lambda number: threshold("labels.tif")))
    endings = (".tif", ".png", ".npy", ".ome.zarr")
    tell("shared record", at_once(count, lambda number: threshold(f"shared{endings[number % len(endings)]}")))
    tell("model", at_once(count, lambda number: imported("mine")))
    (folder / "models" / "mine.safetensors").unlink()
    tell("case of letters", at_once(count, lambda number: imported(("Mine", "mine")[number % 2])))
    tell("coco", at_once(count, coco))
    at_once(count, remembered)
    kept = len(json.loads((folder / "settings.json").read_text()))
    print(json.dumps({"what": "settings", "kept": kept}))


def tell(what, outcome):
    codes, errors = outcome
    print(json.dumps({"what": what, "codes": codes, "errors": errors}), flush=True)


if __name__ == "__main__":
    for module in ("methods.threshold", "io.write", "io.tiff", "io.ome_zarr", "io.bitmap", "cli.segment", "engine.api"):
        import_module(f"napari_tessera.{module}")
    with tempfile.TemporaryDirectory() as folder:
        main(int(sys.argv[1]), Path(folder))
