"""`tessera METHOD IMAGE... -o OUT`: segment images."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.cli import batch, options
from napari_tessera.cli.options import add_image_options, check_pixel_size_is_known, count
from napari_tessera.cli.terminal import Parser, say
from napari_tessera.core.errors import FileError, InputError, ParameterError
from napari_tessera.core.jobs import Job
from napari_tessera.core.method import Input, Method
from napari_tessera.core.result import Result
from napari_tessera.core.spec import Role
from napari_tessera.engine.bind import check_blocks, check_models, is_stored, power_of, values_of_models
from napari_tessera.io.coco_panoptic import CocoPanopticWriter
from napari_tessera.io.image_file import Picture, with_pixel_size
from napari_tessera.io.write import planned_files

FILES_WRITTEN = "Files written: the labels, a .json record that `tessera run` replays, and a .csv table of the objects."


def segment_images(method: Method, argv: list[str]) -> int:
    """Run a method on every image; return the exit code."""
    arguments = options.parsed(method_parser(method), argv)
    settings, paths = options.given_parameters(arguments, method), _input_paths(arguments, method)
    checked = _checked_before_reading({**settings, **paths}, method, arguments.units)
    for note in options.without_effect(method, {**settings, **paths}):
        say(f"tessera: {note}", is_error=True)
    running = {name: getattr(arguments, name) for name in ("n_workers", "scheduler") if getattr(arguments, name)}
    _check_can_run_in_blocks(method, running)

    def make(image: Path, scratch: Path) -> tuple[Picture, Job[Result]]:
        may_stay_on_disk = output.is_zarr and method.join is not None
        picture = _read_image(image, method, arguments, in_blocks=bool(running), to_zarr=may_stay_on_disk)
        if output.coco is not None:
            _check_is_plane(image, picture)
        inputs = {
            entry.name: read_input(
                entry, batch.matching_file(paths[entry.name], image), number_colors=arguments.number_colors
            )
            for entry in method.inputs[1:]
            if entry.name in paths
        }
        on_disk = {"out": scratch} if may_stay_on_disk and is_stored(picture.data) else {}
        options_of_run = {"units": arguments.units, **settings, **inputs, **running, **on_disk}
        return picture, start(method, picture, **options_of_run)

    output = _output_of(arguments, list(paths.values()))
    pairs = batch.plan(arguments.images, output, batch.is_folder(arguments.out), method.kind_of(checked))
    if output.coco is not None:
        _check_are_apart(pairs, output.coco)
    return batch.run_all(pairs, output, make)


def _check_are_apart(pairs: Sequence[tuple[Path, Path]], coco: CocoPanopticWriter) -> None:
    """Before any work, refuse COCO files that exist, or that would replace labels or their records."""
    labels = {os.path.realpath(file) for _, out in pairs for file in planned_files(out)}
    for file in coco.planned_files(image.name for image, _ in pairs):
        if os.path.realpath(file) in labels:
            raise ParameterError(
                f"{file} would be written twice: -o writes labels, a table (.csv) and a record (.json) under one name. "
                "Choose another name for --coco, such as one in another folder.",
                "coco",
            )


def _output_of(arguments: argparse.Namespace, inputs: list[Path]) -> batch.Output:
    """Return where results go; segments may go into COCO files as well."""
    output = batch.output_of(arguments, inputs)
    coco = vars(arguments).get("coco")
    if coco is None:
        return output
    writer = CocoPanopticWriter(coco, overwrite=arguments.overwrite, inputs=[*arguments.images, *inputs])
    return replace(output, coco=writer)


def _read_image(
    image: Path, method: Method, arguments: argparse.Namespace, *, in_blocks: bool, to_zarr: bool
) -> Picture:
    """Read the image, with the pixel size from the arguments or the file."""
    picture = batch.read_main(
        image,
        takes_image=method.takes_image,
        level=arguments.resolution_level,
        **options.reading(arguments),
        in_blocks=in_blocks,
        to_zarr=to_zarr,
    )
    if arguments.units == "physical" and arguments.spacing is None:
        check_pixel_size_is_known(picture.spatial)
    return with_pixel_size(picture, arguments.spacing, arguments.unit)


def start(method: Method, picture: Picture, /, **rest: Any) -> Job[Result]:
    """Check everything and return the job."""
    from napari_tessera.engine import api

    request = api.bind(method.name, picture.data, axes=picture.axes, spatial=picture.spatial, name=picture.name, **rest)
    return api.job(request)


def method_parser(method: Method) -> argparse.ArgumentParser:
    """Make the parser of a method from its declaration."""
    parser = Parser(
        prog=f"tessera {method.name}", usage="%(prog)s IMAGE... -o OUT [settings]", description=method.summary,
        allow_abbrev=False,
        epilog=FILES_WRITTEN + options.sources(method),
    )  # fmt: skip
    main = method.inputs[0]
    batch.add_output_options(parser, "image" if method.takes_image else f"label image ({main.name.replace('_', ' ')})")
    options.add_inputs(parser, method)
    options.add_parameters(parser, method)
    add_image_options(parser)
    if method.output == "segments":
        parser.add_argument(
            "--coco", type=Path, metavar="FILE.json",
            help="write the segments as COCO panoptic, too: this file for all images, and a folder of PNG files",
        )  # fmt: skip
    sizes = parser.add_argument_group("units")
    sizes.add_argument(
        "--units", choices=("px", "physical"), default="px",
        help="whether lengths and areas among the settings are in pixels or in the image's own unit [default: px]",
    )  # fmt: skip
    large = parser.add_argument_group("large images").add_mutually_exclusive_group()
    large.add_argument("--n-workers", type=count(1), metavar="N", help="work in blocks, N at a time")
    large.add_argument("--scheduler", metavar="ADDRESS", help="work in blocks on a dask.distributed scheduler")
    return parser


def _check_is_plane(path: Path, picture: Picture) -> None:
    if set(picture.axes) - set("YXC"):
        raise FileError(
            f"{path} has the axes {picture.axes}, but COCO's panoptic format holds planes. Leave out --coco, or give "
            "each plane as its own file."
        )


def _checked_before_reading(given: dict[str, Any], method: Method, units: str) -> dict[str, Any]:
    """Check the settings, except lengths and areas in the image's unit, which need its pixel size."""
    names = {parameter.name for parameter in method.parameters if units == "px" or not power_of(parameter, 2)}
    known = {name: value for name, value in {**given, **method.implied(given)}.items() if name in names}
    checked = method.declaration.checked(known)
    return checked | values_of_models(method, checked, check_models(method, checked))


def _check_can_run_in_blocks(method: Method, running: dict[str, Any]) -> None:
    try:
        check_blocks(method, 2, **running)
    except InputError as error:
        raise ParameterError(str(error), "n_workers") from error


def _input_paths(arguments: argparse.Namespace, method: Method) -> dict[str, Path]:
    found = vars(arguments)
    return {entry.name: Path(found[entry.name]) for entry in method.inputs[1:] if entry.name in found}


def read_input(entry: Input, path: Path, *, number_colors: bool = False) -> np.ndarray:
    """Read a further input: points from a .csv file, otherwise labels or an image."""
    from napari_tessera.io import read_points

    if path.suffix.lower() == ".csv":
        if Role.POINTS not in entry.roles:
            raise FileError(f"{options.flag(entry.name)} {path} is a table of points, but it must be a label image.")
        return read_points(path)
    if Role.LABELS not in entry.roles and Role.POINTS in entry.roles:
        raise FileError(f"{options.flag(entry.name)} {path} must be a .csv file of points.")
    data: np.ndarray = batch.read_main(
        path, takes_image=Role.IMAGE in entry.roles, axes=None, number_colors=number_colors
    ).data
    return data
