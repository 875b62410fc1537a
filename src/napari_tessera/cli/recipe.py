"""`tessera run RECIPE.json IMAGE... -o OUT`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_tessera.cli import batch, options
from napari_tessera.cli.method import add_image_options
from napari_tessera.errors import FileError, InputError
from napari_tessera.io.open_files import check_exists
from napari_tessera.io.picture import Picture
from napari_tessera.io.placement import with_pixel_size
from napari_tessera.jobs import Job
from napari_tessera.provenance import check_record, hash_pixels
from napari_tessera.registry import Method, method_named
from napari_tessera.result import Result


def main(argv: list[str]) -> int:
    """Run a recipe on every image named; return the exit code."""
    from napari_tessera import api

    arguments = options.parsed(recipe_parser(), argv)
    recipe = read_recipe(arguments.recipe)
    first = recipe if isinstance(recipe, Mapping) else recipe[0]
    method = method_named(first["method"])

    def make(image: Path) -> tuple[Picture, Job[Result]]:
        axes = arguments.axes or first["axes"]
        picture = batch.read_main(image, takes_image=method.takes_image, axes=axes, level=arguments.level)
        picture = _placed(picture, first, method, arguments)
        return picture, api.replay(recipe, picture.data, spatial=picture.spatial, name=picture.name)

    output = batch.output_of(arguments, [arguments.recipe])
    return batch.run_all(batch.plan(arguments.images, output, batch.is_folder(arguments.out)), output, make)


def recipe_parser() -> argparse.ArgumentParser:
    """Make the parser of `tessera run`."""
    parser = argparse.ArgumentParser(
        prog="tessera run", usage="%(prog)s RECIPE IMAGE... -o OUT [settings]", allow_abbrev=False,
        description="Run a recipe: the .json record beside earlier labels, or a list of such records.",
    )  # fmt: skip
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help=".json file")
    batch.add_output_options(parser)
    add_image_options(parser)
    return parser


def read_recipe(path: Path) -> dict[str, Any] | list[dict[str, Any]]:
    """Read a record, or a list of them.

    Raises
    ------
    FileError
        If the file is missing or no JSON.
    InputError
        If it is no recipe.
    """
    try:
        recipe = json.loads(check_exists(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} is no recipe: it cannot be read as JSON ({error}).") from error
    if isinstance(recipe, list):
        if not recipe:
            raise InputError(f"{path} is an empty list; a recipe needs at least one step.")
        return [check_record(step) for step in recipe]
    return check_record(recipe)


def _placed(picture: Picture, record: Mapping[str, Any], method: Method, arguments: argparse.Namespace) -> Picture:
    """Use the recipe's pixel size on the very image it was made from, and where an image's file says none.

    So the same image gives the same labels even if its pixel size was typed in, and another image is measured by its
    own.
    """
    spacing, unit = arguments.spacing, arguments.unit
    if spacing is None and record.get("spacing"):
        says_nothing = set(picture.spatial.spacing) == {1.0} and picture.spatial.unit == "pixel"
        if says_nothing or _is_the_same(picture, record, method):
            spacing, unit = record["spacing"], unit or record.get("unit")
    return with_pixel_size(picture, spacing, unit)


def _is_the_same(picture: Picture, record: Mapping[str, Any], method: Method) -> bool:
    made_from = (record.get("inputs") or {}).get(method.inputs[0].name) or {}
    return made_from.get("sha256") == hash_pixels(picture.data)
