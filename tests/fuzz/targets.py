"""What is tried: every reader, recipes, models, checkpoints, settings, command lines and calls from Python."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import napari_tessera as tessera
from napari_tessera.cli.evaluate import read_segments
from napari_tessera.cli.main import main
from napari_tessera.io import read_coco_panoptic, read_image, read_labels, read_points, tiff
from napari_tessera.io.annotation_store import read_blocks, saved_annotations
from napari_tessera.io.read import load
from napari_tessera.training.data.sources import from_index
from napari_tessera.training.recovery import interrupted
from napari_tessera.training.settings import checked_settings
from tests.fuzz import drawing, seeds
from tests.fuzz.case import Target, Try
from tests.fuzz.mutations import CUT, SOUND, copied, damage
from tests.helpers.generated_inputs import check_labels
from tests.helpers.scenes import blobs, two_boxes

LARGEST_LOADED_BYTES = 2**28
MAY_BE_CUT = "record beside"
"""Here a part cut off need not be noticed: of a record beside an image only what is sound is used."""


def of_images(name: str, folder: Path, rng: Random, _: int) -> Try:
    """Read a damaged image: what was cut short is refused, or nothing of it is lost."""
    truth, write = seeds.IMAGES[name]
    copied(seeds.made(name, write), folder)
    path = min(path for path in folder.iterdir() if path.suffix != ".json")
    truth = pixels(path) if truth is None else np.squeeze(truth)
    done, draw = damage(folder, rng), rng.random()
    tiff.LAZY_FROM_BYTES = rng.choice((0, 2**30))
    if draw < 0.15:
        return command(["threshold", path.name, "-o", rng.choice(("out.tif", "out.ome.tif", "out.zarr"))], folder)
    if draw < 0.25:
        how = {"axes": rng.choice(("YX", "ZYX", "CYX", "QYX", "", None)), "level": rng.choice((0, 1, -1, 10**30))}
        return Try(f"read_image({path.name}, **{how}), {done}", partial(pixels, path, partial(read_image, **how)))

    def check(found: np.ndarray | None) -> str:
        if done not in (SOUND, CUT) or (done == CUT and name == MAY_BE_CUT) or np.array_equal(found, truth):
            return ""
        return "read as whole though cut short" if done == CUT else "other pixels than were written"

    return Try(f"read_image({path.name}), {done}", partial(pixels, path), check)


def pixels(path: Path, read: Callable[[Path], Any] = read_image) -> np.ndarray | None:
    """Read an image into memory; None for one that is too large for it."""
    picture = read(path)
    return load(picture).data if picture.data.nbytes <= LARGEST_LOADED_BYTES else None


def of_files(
    write: Callable[[Path], None], reads: tuple[Callable[[Path], Any], ...], folder: Path, rng: Random, _: int
) -> Try:
    """Read damaged files in one of the ways there are."""
    copied(seeds.made(write.__name__, write), folder)
    return Try(f"{write.__name__}, {damage(folder, rng)}", partial(rng.choice(reads), folder))


def _paint(folder: Path) -> None:
    for saved in saved_annotations(folder):
        if not saved.problem:
            list(read_blocks(saved))


def command(words: list[str], folder: Path, outputs: tuple[str, ...] = ("out", "new", "own")) -> Try:
    """Run a command in a folder; only what is named an output may be new there."""
    os.environ["TESSERA_MODELS"] = str(folder / "own")
    return Try(f"tessera {' '.join(map(repr, words))}", partial(main, words), outputs=outputs, is_command=True)


def of_recipes(folder: Path, rng: Random, _: int) -> Try:
    """Replay a damaged record, from Python and on the command line."""
    path = rng.choice(sorted(seeds.made("recipes", seeds.recipes).glob("*.json")))
    recipe_path = folder / "recipe.json"
    recipe_path.write_bytes(path.read_bytes())
    done = damage(folder, rng)
    image = two_boxes() if path.stem in ("refine", "compare") else blobs()
    np.save(folder / "a.npy", image)
    on_command_line = command(["run", "recipe.json", "a.npy", "-o", "out.tif"], folder)
    if rng.random() < 0.5 or not recipe_path.is_file():
        return on_command_line
    try:
        recipe = json.loads(recipe_path.read_text())
    except (ValueError, RecursionError):
        return on_command_line
    return Try(f"run({json.dumps(recipe):.1000}), {done}", lambda: tessera.run(recipe, image))


def of_models(folder: Path, rng: Random, _: int) -> Try:
    """List, show, import or run a damaged model."""
    import torch  # noqa: F401  # before the clock runs

    sound = rng.choice(sorted(seeds.made("models", seeds.models).iterdir()))
    (folder / "own").mkdir()
    (folder / "own" / sound.name).write_bytes(sound.read_bytes())
    done, path = damage(folder / "own", rng), f"own/{sound.name}"
    actions = ([], ["show", path], ["show", sound.stem], ["import", path, "--name", "new"])
    if rng.random() < 0.7:
        return command(["models", *rng.choice(actions)], folder, outputs=("own/new",))
    method = tessera.mask_rcnn if sound.stem == "boxes" else tessera.unet
    return Try(f"{method.__name__}(model={path}), {done}", lambda: method(blobs(), model=path))


def of_checkpoints(folder: Path, rng: Random, _: int) -> Try:
    """List, import or go on with a damaged checkpoint."""
    from tests.training import test_recovery as test_interrupted  # noqa: F401  # before the clock runs

    own = copied(seeds.made("checkpoint", seeds.checkpoint), folder / "own")
    path = next(own.iterdir())
    damage(own, rng)
    kind = rng.choice(("list", "list", "models", "import", "import", "go on"))
    if kind == "list":
        return Try("interrupted", lambda: interrupted(own))
    if kind == "go on":
        through_a_link = "own/lost"  # where damage made the checkpoint a link, it is written through it
        return Try("going on", partial(_go_on, own / "halves.safetensors"), outputs=("own/halves", through_a_link))
    words = ["models"] if kind == "models" else ["models", "import", str(path), "--name", "new"]
    return command(words, folder, ("own/new",))


def _go_on(out: Path) -> None:
    """Go on with a training for one step."""
    from tests.training.test_recovery import UNET, training

    job = training(out, **UNET)
    for progress in job:
        if isinstance(progress.data, dict) and "loss" in progress.data:
            break
    job.close()


def of_settings(folder: Path, rng: Random, number: int) -> Try:
    """Check drawn settings of a training."""
    values = drawing.drawn(drawing.SETTINGS, number)
    return Try(f"checked_settings({values})", lambda: checked_settings(values))


def of_calls(folder: Path, rng: Random, number: int) -> Try:
    """Call a method with a drawn array and drawn options; arrays must stay as they are."""
    method, image, options = drawing.drawn(drawing.CALLS, number)
    before = _frozen(image, options)

    def check(result: Any) -> str:
        if type(image) is np.ndarray:
            check_labels(result, image)
        return "an input was changed" if _frozen(image, options) != before else ""

    said = f"{getattr(image, 'dtype', type(image))}{getattr(image, 'shape', '')}"
    words = f"segment({method!r}, {said}, **{options!r:.1500})"
    return Try(words, lambda: tessera.segment(method, image, **options), check)


def _frozen(image: Any, options: Mapping[str, Any]) -> list[bytes]:
    arrays = [each for each in (image, *options.values()) if isinstance(each, np.ndarray) and not each.dtype.hasobject]
    return [each.tobytes() for each in arrays]


def of_commands(kind: str, folder: Path, rng: Random, number: int) -> Try:
    """Run a drawn command line on sound files."""
    copied(seeds.made("files", seeds.files), folder)
    words = drawing.drawn(drawing.LINES[kind], number)
    attempt = command(words, folder)
    written = {Path(name).stem for word, name in pairwise(words) if word in ("-o", "--out", "--json", "--coco")}
    there = {path.stem for path in folder.iterdir()}
    named_once = {stem for stem in written if sum(Path(word).stem == stem for word in words) == 1}
    free = (written - there) | (named_once if "--overwrite" in words else set())
    return replace(attempt, outputs=(*attempt.outputs, *filter(None, free)))


def _of(write: Callable[[Path], None], *reads: Callable[[Path], Any]) -> Target:
    return Target(write.__name__, partial(of_files, write, reads), len(reads))


TARGETS = [
    *(Target(name, partial(of_images, name)) for name in seeds.IMAGES),
    _of(seeds.points, lambda folder: read_points(folder / "points.csv")),
    _of(
        seeds.segments,
        lambda folder: list(read_coco_panoptic(folder / "scene.json")),
        lambda folder: read_segments(folder / "a.tif"),
    ),
    _of(
        seeds.labels,
        lambda folder: pixels(folder / "a.tif", read_labels),
        lambda folder: pixels(folder / "b.ome.zarr", read_labels),
    ),
    _of(seeds.paint, _paint),
    _of(seeds.pairs, lambda folder: from_index(folder / "index.csv")),
    Target("recipes", of_recipes, 5),
    Target("models", of_models, 4),
    Target("checkpoints", of_checkpoints, 3),
    Target("settings", of_settings),
    Target("calls", of_calls, 8),
    Target("commands", partial(of_commands, "commands"), 6),
    Target("trainings", partial(of_commands, "trainings"), 0.3),
]
