"""`tessera models`: list models, show a model card, suggest a model for an image, import and remove models."""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from napari_tessera.cli import options
from napari_tessera.cli.terminal import WIDEST, Parser, filled, progress_bar, say, stoppable
from napari_tessera.core.jobs import run_job
from napari_tessera.engine.suggest_model import ModelSuggestion, suggest_model, verdict
from napari_tessera.io.image_file import note_on_guessed_axes, with_pixel_size
from napari_tessera.models.header import CHECKPOINT
from napari_tessera.models.registry import ModelEntry, find, import_model, list_models, remove_model, user_folder
from napari_tessera.training.recovery import import_checkpoint, interrupted, unreadable

SUGGESTED = ("model", "network", "likely right", "objects", "diameter")
HEADINGS = ("model", "images", "size", "from", "finds")


def main(argv: list[str]) -> int:
    """Run a command on the models, and return the exit code."""
    arguments = options.parsed(models_parser(), argv)
    do: Callable[[argparse.Namespace], None] = arguments.do
    do(arguments)
    return 0


def models_parser() -> argparse.ArgumentParser:
    """Make the parser of `tessera models`."""
    parser = Parser(
        prog="tessera models", allow_abbrev=False,
        usage="%(prog)s [show MODEL | suggest IMAGE | import FILE | remove NAME]",
        description="List the models, or show, suggest, import or remove one. Works without a network connection.",
    )  # fmt: skip
    parser.set_defaults(do=print_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", prog="tessera models")

    show = actions.add_parser("show", allow_abbrev=False, help="print a model's card")
    show.add_argument("model", metavar="MODEL", help="name of a model, or a model file")
    show.set_defaults(do=print_card)

    suggest = actions.add_parser(
        "suggest", allow_abbrev=False, help="try the models that find objects on windows of an image",
        description="Try the models that find objects on windows of an image, and order them by how well they fit.",
    )  # fmt: skip
    suggest.add_argument("image", type=Path, metavar="IMAGE")
    suggest.add_argument("--network", choices=("unet", "mask-rcnn"), help="kind of network to try [default: all]")
    suggest.add_argument("--channel", type=options.count(0), metavar="N", help="channel to look at, from 0")
    options.add_image_options(suggest)
    suggest.set_defaults(do=print_suggestions)

    bring = actions.add_parser("import", allow_abbrev=False, help="copy a model file to your own models")
    bring.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="model file (.safetensors), or the checkpoint of a "
        "training that was interrupted (.safetensors.checkpoint)",
    )
    bring.add_argument("--name", help="name to give it [default: the one in the file]")
    bring.add_argument("--overwrite", action="store_true", help="replace a model of your own of that name")
    bring.set_defaults(do=import_from_file)

    remove = actions.add_parser("remove", allow_abbrev=False, help="delete one of your own models")
    remove.add_argument("name", metavar="NAME", help="name of the model")
    remove.set_defaults(do=remove_by_name)
    return parser


def print_list(_: argparse.Namespace) -> None:
    """Print a line for each model, and the folder of the user's models."""
    rows = [HEADINGS, *(_row(entry) for entry in list_models())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    for row in rows:
        start = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        say(filled(row[-1], WIDEST, start))
    say(f"\nYour own models: {user_folder()}")
    for each in interrupted():
        say(
            f"\nThe training of {each.name} was interrupted at step {each.step} of {each.steps}. To save its last "
            f"checkpoint as a model:\n  tessera models import {shlex.quote(str(each.path))}"
        )
    for reason in unreadable():
        say(f"\n{reason}")


def _row(entry: ModelEntry) -> tuple[str, ...]:
    said = f"cannot be used: {entry.error}" if entry.error else entry.summary
    return entry.name, f"{entry.ndim}-D" if entry.header else "?", size_in_words(entry.n_bytes), _origin(entry), said


def _origin(entry: ModelEntry) -> str:
    return "Tessera" if entry.is_shipped else "you"


def size_in_words(n_bytes: int) -> str:
    """Format a size as file managers do: 1 MB is 1,000,000 bytes."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"


def print_card(arguments: argparse.Namespace) -> None:
    """Print a model's card."""
    entry = find(arguments.model)
    facts = {
        "name": entry.name,
        "summary": entry.summary,
        "finds": f"{entry.task} ({', '.join(entry.classes)})",
        "images": f"{entry.ndim}-D; channels of the network: {'; '.join(entry.header['channels'])}",
        "diameter": "any" if entry.diameter_px is None else f"{entry.diameter_px:g} px where the network works",
        "licence": entry.licence or "not said",
        "cite": entry.header["cite"] or "not said",
        "file": f"{entry.path} ({size_in_words(entry.n_bytes)})",
        "SHA-256": entry.sha256(),
    }
    width = min(WIDEST, shutil.get_terminal_size().columns)
    say(f"{entry.title}\n{'=' * len(entry.title)}")
    for name, said in facts.items():
        say(filled(said, width, f"{name:<10}"))
    if entry.card:
        say(f"\n{wrapped(entry.card, width)}")


def print_suggestions(arguments: argparse.Namespace) -> None:
    """Print a line for each model that was tried on an image, the best first."""
    from napari_tessera.cli.batch import read_main

    level, series = arguments.resolution_level, arguments.series
    picture = read_main(arguments.image, takes_image=True, axes=arguments.axes, level=level, series=series)
    for note in (*picture.notes, *note_on_guessed_axes(picture)):
        say(f"{arguments.image}: {note}", is_error=True)
    spacing = with_pixel_size(picture, arguments.spacing, arguments.unit).spatial.spacing
    given = {"axes": picture.axes, "spacing": spacing, "channel": arguments.channel, "network": arguments.network}
    with stoppable() as minding, progress_bar(picture.name, is_quiet=False) as show:
        suggestions = suggest_model(picture.data, **given, progress=minding(show))
    rows = [SUGGESTED, *map(_suggestion_row, suggestions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    say(f"\n{verdict(suggestions)}")


def _suggestion_row(each: ModelSuggestion) -> tuple[str, ...]:
    diameter = "any" if each.diameter_px is None else f"{each.diameter_px:g} px"
    return each.model, each.network, f"{each.confidence:.0%}", str(each.n_objects), diameter


def wrapped(markdown: str, width: int) -> str:
    """Wrap the long lines of a Markdown text; tables and indented lines stay as they are."""
    lines = markdown.strip().splitlines()
    return "\n".join(line if line.startswith(("|", " ")) else filled(line, width) for line in lines)


def import_from_file(arguments: argparse.Namespace) -> None:
    """Import a model file, or a checkpoint."""
    file, name, overwrite = arguments.file, arguments.name, arguments.overwrite
    if file.name.endswith(CHECKPOINT):
        entry = run_job(import_checkpoint(file, name, overwrite=overwrite))
        step = entry.header["training"]["best_step"]
        say(f"The weights of step {step}. {file} is no longer needed, unless you want to resume the training.")
    else:
        entry = import_model(file, name, overwrite=overwrite)
    say(f"Imported {entry.name}: {entry.path}")


def remove_by_name(arguments: argparse.Namespace) -> None:
    """Remove one of the user's models."""
    say(f"Removed {remove_model(arguments.name)}")
