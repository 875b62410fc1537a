"""`tessera run RECIPE.json IMAGE... -o OUT`: replay a record."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_tessera.cli import batch, options
from napari_tessera.cli.options import add_image_options, has_no_pixel_size
from napari_tessera.cli.segment import read_input
from napari_tessera.cli.terminal import Parser
from napari_tessera.core.errors import FileError, InputError, ParameterError
from napari_tessera.core.file_checks import read_json
from napari_tessera.core.jobs import Job, run_job
from napari_tessera.core.method import Input, Method
from napari_tessera.core.record_schema import check_recipe
from napari_tessera.core.result import DEEPEST, Result, describe_array
from napari_tessera.engine.replay import replay
from napari_tessera.io.image_file import Picture, with_axes, with_pixel_size
from napari_tessera.methods.registry import method_named


def main(argv: list[str]) -> int:
    """Replay a recipe on every image; return the exit code."""
    arguments = options.parsed(recipe_parser(), argv)
    recipe = read_recipe(arguments.recipe)
    method = method_named(recipe[0]["method"])
    paths = _named_paths(arguments.input, recipe)

    def make(image: Path, scratch: Path) -> tuple[Picture, Job[Result]]:
        picture = batch.read_main(
            image, takes_image=method.takes_image, level=arguments.resolution_level, **options.reading(arguments)
        )
        if arguments.axes is None and len(recipe[0]["axes"]) == len(picture.axes):
            picture = with_axes(picture, recipe[0]["axes"])
        picture = _placed(picture, recipe[0], method, arguments)
        inputs = {name: read_input(entry, batch.matching_file(path, image)) for name, (entry, path) in paths.items()}
        fitted = [_fitted(step, picture) for step in recipe]
        return picture, replay(fitted, picture.data, spatial=picture.spatial, name=picture.name, **inputs)

    output = batch.output_of(arguments, [arguments.recipe, *(path for _, path in paths.values())])
    return batch.run_all(batch.plan(arguments.images, output, batch.is_folder(arguments.out)), output, make)


def _fitted(step: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    """Adapt a step to another kind of image: a 2-D recipe to a time series, to channels, to 3-D."""
    takes_image = method_named(step["method"]).takes_image
    return {**step, "axes": picture.axes if takes_image else picture.axes.replace("C", "")}


def _named_paths(texts: Sequence[str], recipe: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Input, Path]]:
    """Read NAME=PATH options; a name must be that of an input of one of the steps."""
    entries = {entry.name: entry for step in recipe for entry in method_named(step["method"]).inputs[1:]}
    found: dict[str, tuple[Input, Path]] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if name not in entries or not path:
            known = ", ".join(entries) or "none"
            raise ParameterError(f"--input {text} must be NAME=PATH; the recipe's inputs are: {known}.", "input")
        found[name] = (entries[name], Path(path))
    return found


def recipe_parser() -> argparse.ArgumentParser:
    """Make the parser of `tessera run`."""
    parser = Parser(
        prog="tessera run", usage="%(prog)s RECIPE IMAGE... -o OUT [settings]", allow_abbrev=False,
        description="Run a recipe: the .json record beside earlier labels, or a list of such records.",
    )  # fmt: skip
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help=".json file")
    batch.add_output_options(parser)
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=PATH",
        help="a further input (markers, a mask, seeds) instead of the one that the recipe holds or only describes",
    )  # fmt: skip
    add_image_options(parser)
    return parser


def read_recipe(path: Path) -> list[dict[str, Any]]:
    """Read a record, or a list of records, as a list."""
    try:
        return check_recipe(read_json(path, DEEPEST))
    except ValueError as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from error
        raise FileError(f"{path} is not a recipe: it cannot be read as JSON ({error}).") from error


def _placed(picture: Picture, record: Mapping[str, Any], method: Method, arguments: argparse.Namespace) -> Picture:
    """Use the recipe's pixel size for the image that it was made from, and for files without a pixel size.

    So the same image gives the same labels even if its pixel size was typed in, and other images keep theirs.
    """
    spacing, unit = arguments.spacing, arguments.unit
    says_size = spacing is None and bool(record.get("spacing"))
    if says_size and (has_no_pixel_size(picture.spatial) or _is_the_same(picture, record, method)):
        spacing, unit = record["spacing"], unit or record.get("unit")
    return with_pixel_size(picture, spacing, unit)


def _is_the_same(picture: Picture, record: Mapping[str, Any], method: Method) -> bool:
    made_from = (record.get("inputs") or {}).get(method.inputs[0].name) or {}
    return made_from.get("sha256") == run_job(describe_array(picture.data))["sha256"]
