"""Run one command on many images: output paths, failures, and notes on results."""

from __future__ import annotations

import argparse
import glob
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_tessera.cli.terminal import progress_bar, say, stoppable
from napari_tessera.core.atomic_writes import check_free, working_folder
from napari_tessera.core.errors import FileError, ParameterError, TesseraError, in_words, printable
from napari_tessera.core.file_checks import check_exists, is_zarr
from napari_tessera.core.jobs import Job, run_job
from napari_tessera.core.labels import Segments
from napari_tessera.core.result import Kind, LabelImage, Result, count_in_words, describe_auto_values, with_seconds
from napari_tessera.core.spatial import CHANNEL
from napari_tessera.engine.bind import fits_in_memory, is_large
from napari_tessera.io.coco_panoptic import CocoPanopticWriter
from napari_tessera.io.image_file import Picture, note_on_guessed_axes, with_records
from napari_tessera.io.read import load, read_image, read_labels, stem
from napari_tessera.io.write import (
    FORMATS,
    check_axes,
    check_can_hold,
    check_format,
    is_of_format,
    note_on_axes,
    planned_files,
    write_result,
)

Make = Callable[[Path, Path], tuple[Picture, Job[Result]]]
"""Reads an image and returns its job; the second path is for output that must not be held in memory."""


@contextmanager
def telling_guessed_axes(make: Make, *, is_quiet: bool) -> Iterator[Make]:
    """Wrap `make` to warn about the first image with guessed axes; at the end, print how many others there are."""
    guessed: list[Path] = []

    def make_and_tell(image: Path, scratch: Path) -> tuple[Picture, Job[Result]]:
        picture, job = make(image, scratch)
        for note in () if is_quiet else picture.notes:
            say(f"{image}: {note}", is_error=True)
        if guess := note_on_guessed_axes(picture):
            if not (guessed or is_quiet):
                say(f"{image}: {guess[0]}", is_error=True)
            guessed.append(image)
        return picture, job

    yield make_and_tell
    if (more := len(guessed) - 1) > 0 and not is_quiet:
        what = "one more image" if more == 1 else f"{more} more images"
        say(f"tessera: the axes of {what} were guessed too.", is_error=True)


def report(image: Path, result: Result, written: Sequence[Path]) -> None:
    """Print the notes, the number of objects, and the files."""
    for note in result.notes:
        say(f"{image}: {note}", is_error=True)
    seconds = result.provenance.get("seconds")
    took = f" in {seconds:.2f} s" if isinstance(seconds, (int, float)) else ""
    further = "".join(f", {path}" for path in written[1 : len(result.images)])
    chosen = describe_auto_values(result)
    say(f"{image}: {found_in_words(result.images[0])}{took} -> {written[0]}{further}{chosen and f' ({chosen[:-1]})'}")


def found_in_words(image: LabelImage) -> str:
    """Return the number of objects or classes, or the class of the probabilities."""
    if image.kind == "probabilities":
        return f"probabilities of {image.name}"
    found = image.table["label"] if "label" in image.table else np.setdiff1d(np.unique(image.data), [0])
    count = len(np.unique(found))  # in a film, a class has a row in each frame
    return count_in_words(count, image.kind)


FOLDER_FORMATS = ("tif", "ome.tif", "ome.zarr", "png", "npy")
PATTERN_SIGNS = frozenset("*?[")


@dataclass(frozen=True)
class Output:
    """Where results go and how."""

    path: Path
    format: str
    overwrite: bool
    is_quiet: bool
    inputs: tuple[Path, ...] = ()
    coco: CocoPanopticWriter | None = None

    @property
    def is_zarr(self) -> bool:
        """Whether labels go into Zarr, and need not be held in memory."""
        return self.path.name.lower().endswith(".zarr") or self.format.endswith(".zarr")


def add_output_options(parser: argparse.ArgumentParser, what: str = "image") -> None:
    """Add the images and the options for the output."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", type=Path, help=f"{what} file, or OME-Zarr folder")
    parser.add_argument(
        "-o", "--out", required=True, metavar="OUT",
        help=f"file to write ({', '.join(FORMATS)}); for several images, a folder",
    )  # fmt: skip
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=FOLDER_FORMATS, help=f"ending of the files in a folder [default: {FOLDER_FORMATS[0]}]"
    )  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="replace files that exist already; never an input")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


def output_of(arguments: argparse.Namespace, inputs: Sequence[Path] = ()) -> Output:
    """Return where the results go; a trailing slash or an existing folder means a folder, also for one image."""
    out, ending = Path(arguments.out), arguments.format
    is_file = len(arguments.images) == 1 and not is_folder(arguments.out)
    if is_file and ending is not None and not is_of_format(out, ending):
        raise ParameterError(
            f"--format is {ending}, but -o {out} has another ending. For one file leave out --format: the ending of -o "
            f"chooses the format. For a folder write -o {out.parent / stem(out)}/.",
            "format",
        )
    return Output(out, ending or FOLDER_FORMATS[0], arguments.overwrite, arguments.quiet, tuple(inputs))


def plan(images: Sequence[Path], output: Output, is_folder: bool, kind: Kind = "objects") -> list[tuple[Path, Path]]:
    """Pair each image with the file for its labels, or for the first of its probabilities."""
    if not (len(images) > 1 or is_folder):
        check_is_one_image(images[0])
        return [(images[0], _writable(output.path, kind))]
    if output.path.name.lower().endswith(FORMATS) and not os.path.isdir(output.path):
        raise ParameterError(f"There are {len(images)} images, so -o must be a folder, not {output.path}.", "out")
    names = [stem(image) for image in images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterError(
            f"Several images are named {', '.join(twice)}; their labels would overwrite each other.", "images"
        )
    return [
        (image, _writable(output.path / f"{name}.{output.format}", kind))
        for image, name in zip(images, names, strict=True)
    ]


def check_is_one_image(path: Path) -> None:
    """Refuse a folder of images, and a pattern that the shell has not expanded."""
    if os.path.isdir(path):
        check_exists(path, may_be_folder=is_zarr(path))
    elif PATTERN_SIGNS & set(str(path)) and not os.path.exists(path):
        found = len(glob.glob(str(path)))
        if not found:
            raise FileError(f"There is no file {path}, and no file matches it as a pattern.")
        raise FileError(
            f"There is no file {path}, but as a pattern it matches {found} file{'' if found == 1 else 's'}. Write it "
            "without quotes, so that the shell expands it, or name the files."
        )


def _writable(path: Path, kind: Kind) -> Path:
    try:
        check_format(path)
        check_can_hold(path, kind)
    except FileError as error:
        raise ParameterError(str(error), "out") from error
    return path


def is_folder(text: str) -> bool:
    """Return whether -o names a folder."""
    return text.endswith(("/", "\\")) or (os.path.isdir(text) and not Path(text).name.lower().endswith(".zarr"))


def run_all(pairs: Sequence[tuple[Path, Path]], output: Output, make: Make) -> int:
    """Run every image; an error does not stop the others. Return the exit code.

    The COCO file has the images that are done, even after Ctrl-C.
    """
    with output.coco or nullcontext(), telling_guessed_axes(make, is_quiet=output.is_quiet) as make:
        return _run_only(*pairs[0], output, make) if len(pairs) == 1 else _run_several(pairs, output, make)


def _run_several(pairs: Sequence[tuple[Path, Path]], output: Output, make: Make) -> int:
    failed = []
    for image, out in pairs:
        try:
            _run_one(image, out, output, make)
        except TesseraError as error:
            failed.append(image)
            say(f"tessera: {naming(image, error)}", is_error=True)
        except Exception as error:
            failed.append(image)
            why = in_words(error) or f"unexpected {type(error).__name__}: {error}"
            say(f"tessera: {image}: {why}", is_error=True)
    if failed:
        names = ", ".join(str(image) for image in failed)
        say(f"tessera: {len(failed)} of {len(pairs)} images failed: {names}", is_error=True)
    return 1 if failed else 0


def _run_only(image: Path, out: Path, output: Output, make: Make) -> int:
    """Run the only image; here a setting that does not fit it is a bad argument."""
    try:
        _run_one(image, out, output, make)
    except TesseraError as error:
        say(f"tessera: {naming(image, error)}", is_error=True)
        return 2 if isinstance(error, ParameterError) else 1
    return 0


def naming(image: Path, error: TesseraError) -> str:
    """Return the error's message, after the image's file unless the message names it."""
    name = printable(str(image))
    return str(error) if name in str(error) else f"{name}: {error}"


def _run_one(image: Path, out: Path, output: Output, make: Make) -> None:
    check_is_one_image(image)
    files = with_records([image, *output.inputs])
    with stoppable() as minding, working_folder(out.parent, out) as work:
        check_free(planned_files(out), overwrite=output.overwrite, inputs=files)
        begin = time.perf_counter()
        picture, job = make(image, work / "labels")
        check_axes(out, picture.axes.replace(CHANNEL, ""))
        with progress_bar(picture.name, is_quiet=output.is_quiet) as on_progress:
            result = with_seconds(run_job(job, minding(on_progress)), begin)
        written = write_result(result, out, picture, overwrite=output.overwrite, inputs=files)
        if output.coco is not None:
            output.coco.add(image.name, Segments.of_table(result.labels, result.table))
    if not output.is_quiet:
        notes = note_on_axes(out, result.images[0])
        report(image, replace(result, notes=(*result.notes, *notes)), written)


def read_main(
    path: Path,
    *,
    takes_image: bool,
    axes: str | None,
    level: int = 0,
    series: int | None = None,
    number_colors: bool = False,
    in_blocks: bool = False,
    to_zarr: bool = False,
) -> Picture:
    """Read the image (or the labels) to process, into memory unless it is too large or processed in blocks."""
    if takes_image:
        picture = read_image(path, level=level, series=series, axes=axes)
    else:
        picture = read_labels(path, level=level, series=series, axes=axes, number_colors=number_colors)
    is_left = in_blocks or not fits_in_memory(picture.data) or (to_zarr and is_large(picture.data))
    return picture if is_left else load(picture)


def matching_file(path: Path, image: Path) -> Path:
    """Return `path`, or, if it is a folder, its file with the image's name."""
    if not os.path.isdir(path) or is_zarr(path):
        return path
    found = [entry for entry in sorted(path.iterdir()) if stem(entry) == stem(image) and entry.suffix != ".json"]
    if len(found) != 1:
        raise FileError(f"{path} has {len(found)} files named {stem(image)}, but one is needed for {image}.")
    return found[0]
