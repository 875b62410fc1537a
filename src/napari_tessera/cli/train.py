"""`tessera train IMAGES LABELS -o MODEL`: train a model."""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from napari_tessera.cli import STOPPED, options
from napari_tessera.cli.options import axis_letters
from napari_tessera.cli.terminal import Parser, say
from napari_tessera.core.errors import ParameterError, visible
from napari_tessera.core.jobs import Progress, run_job
from napari_tessera.core.memory import check_room
from napari_tessera.models.load_torch import NETWORKS
from napari_tessera.training.report import describe_scores
from napari_tessera.training.settings import DECLARATION, checked_settings

LISTS_OF_NUMBERS = ("--widths", "--class-weights")
LINES_EVERY = 50
"""Steps between two lines if the output is not a terminal; the first three steps have lines too."""
FEWEST_STEPS = 10
"""Steps before the remaining time is shown."""
BAR = "{desc}{percentage:3.0f}%|{bar:24}| {postfix}"


def main(argv: list[str]) -> int:
    """Train a model; return the exit code."""
    parser = train_parser()
    if said := numbers_without_commas(argv):
        parser.error(said)
    arguments = options.parsed(parser, argv)
    settings = checked_settings(options.given_parameters(arguments, DECLARATION))
    images, labels = _inputs(arguments)
    check_room("torch", NETWORKS)
    from napari_tessera.training.session import training
    from napari_tessera.training.train import find_sources

    reading = options.reading(arguments)
    sources = find_sources(images, labels, settings, arguments.validate_on, **reading)
    begun = threading.Event()
    with stop_on_ctrl_c(begun) as should_stop, shown_progress(is_quiet=arguments.quiet) as show:

        def follow(progress: Progress) -> None:
            if is_step(progress):
                begun.set()
            show(progress)

        job = training(
            sources, arguments.out, settings,
            restart=arguments.restart, overwrite=arguments.overwrite, should_stop=should_stop,
        )  # fmt: skip
        trained = run_job(job, follow)
    record = trained.header["training"]
    if not arguments.quiet:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in record["scores"].items()) or "no score"
        say(f"{trained.path}: the weights of step {record['best_step']}, {scores}")
        if said := describe_scores(record):
            say(said)
        say(f"{trained.report}: curves, settings and examples")
    if not trained.is_finished:
        say(
            f"Stopped at step {record['steps']} of {record['settings']['steps']}; the model is the best so far. "
            "The same command resumes the training.",
            is_error=True,
        )
    return 0 if trained.is_finished else STOPPED


def train_parser() -> argparse.ArgumentParser:
    """Make the parser of `tessera train` from the declared settings."""
    parser = Parser(
        prog="tessera train", allow_abbrev=False,
        usage="%(prog)s IMAGES LABELS -o MODEL [settings]\n       %(prog)s --index TABLE -o MODEL [settings]",
        description="Train a network on labelled images. Two folders are matched by the names of their files. A "
        "training that was stopped or killed resumes with the same command.",
        epilog="Files written: MODEL, which every method and widget can use, and a report with curves beside it.",
    )  # fmt: skip
    parser.add_argument("images", nargs="?", type=Path, metavar="IMAGES", help="image, or folder of them")
    parser.add_argument("labels", nargs="?", type=Path, metavar="LABELS", help="label image, or folder of them")
    parser.add_argument(
        "--index", type=Path, metavar="TABLE",
        help="instead of IMAGES and LABELS: a CSV file with columns image and label (paths), or name (of files in the "
        "folders images and labels beside it), and, if you like, split (train or val)",
    )  # fmt: skip
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="MODEL", help="file to write, .safetensors")
    parser.add_argument(
        "--validate-on", nargs=2, type=Path, metavar=("IMAGES", "LABELS"),
        help="choose the best weights by these, instead of by a share of the images",
    )  # fmt: skip
    parser.add_argument(
        "--axes", type=axis_letters,
        help="one letter per axis of the images, such as YX, TYX or CYX [default: as the files say]",
    )  # fmt: skip
    options.add_file_options(parser)
    parser.add_argument("--restart", action="store_true", help="start again, even if a training could be resumed")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that exists already")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options.add_parameters(parser, DECLARATION)
    return parser


def numbers_without_commas(argv: Sequence[str]) -> str:
    """Return a hint if the numbers of an option are not separated by commas; otherwise "".

    Examples
    --------
    >>> numbers_without_commas(["images", "labels", "--widths", "8", "16"])
    'write the numbers of --widths with commas: --widths 8,16'
    """
    for at, option in enumerate(argv):
        if option in LISTS_OF_NUMBERS:
            numbers = list(itertools.takewhile(_is_number, (text.rstrip(",") for text in argv[at + 1 :])))
            if len(numbers) > 1:
                return f"write the numbers of {option} with commas: {option} {','.join(numbers)}"
    return ""


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _inputs(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """Return images and labels, or the index and None."""
    if arguments.index is not None and arguments.images is None:
        return arguments.index, None
    if arguments.index is not None or arguments.labels is None:
        raise ParameterError("Give IMAGES and LABELS, or --index and neither of them.", "images")
    return arguments.images, arguments.labels


@contextmanager
def stop_on_ctrl_c(begun: threading.Event) -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether Ctrl-C was pressed; twice, or before the first step, it stops at once."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if not begun.is_set():
            raise KeyboardInterrupt
        pressed.append(number)
        signal.signal(signal.SIGINT, before)
        say("\nStopping after this step, keeping the best so far … (Ctrl-C again: at once)", is_error=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def shown_progress(*, is_quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal, and lines elsewhere; the scores of each validation are lines in both."""
    from tqdm import tqdm

    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    with tqdm(total=1.0, bar_format=BAR, disable=is_quiet or not is_terminal, leave=False, file=sys.stderr) as bar:
        clock = Clock()

        def show(progress: Progress) -> None:
            left = clock.left(progress)
            bar.set_postfix_str(f"{progress.text}{left}", refresh=False)
            bar.update(progress.fraction - bar.n)
            for warning in [] if is_quiet else warnings_in(progress):
                tqdm.write(visible(f"Warning: {warning}"), file=sys.stderr)
            if not is_quiet and (line := as_line(progress, is_terminal)):
                tqdm.write(f"{line}{left}", file=sys.stdout)
                sys.stdout.flush()

        yield show


def warnings_in(progress: Progress) -> list[str]:
    """Return the warnings on the data, or at the end on the course of the training."""
    said: Any = progress.data
    if not isinstance(said, dict):
        return []
    return [*([said["warning"]] if "warning" in said else []), *said.get("advice", [])]


def is_step(progress: Progress) -> bool:
    """Return whether this is a training step."""
    return isinstance(progress.data, dict) and "loss" in progress.data


@dataclass
class Clock:
    """Remaining time, from the steps done since the start of this process."""

    begin: tuple[float, float] | None = field(default=None)

    def left(self, progress: Progress) -> str:
        """Return the remaining time in words; empty until it is known."""
        if not is_step(progress):
            return ""
        now = (time.monotonic(), progress.done)
        first = self.begin = self.begin or now
        if now[1] - first[1] < FEWEST_STEPS:
            return ""
        seconds = (now[0] - first[0]) / (now[1] - first[1]) * (progress.total - progress.done)
        return f", {in_hours(seconds)} left"


def in_hours(seconds: float) -> str:
    """Format a time in common units.

    Examples
    --------
    >>> in_hours(42), in_hours(600), in_hours(7500)
    ('42 s', '10 min', '2 h 5 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def as_line(progress: Progress, is_terminal: bool) -> str:
    """Format a step or a validation as a line; empty if nothing is to be printed."""
    said: Any = progress.data
    if not isinstance(said, dict) or "step" not in said:
        return ""
    step = said["step"]
    if is_step(progress) and (is_terminal or (step > 3 and step % LINES_EVERY)):
        return ""
    values = "  ".join(f"{name} {value:.6g}" for name, value in said.items() if name != "step")
    return f"step {step}  {'' if is_step(progress) else 'validation: '}{values}"
