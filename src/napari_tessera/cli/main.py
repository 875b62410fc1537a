"""Run a command of `tessera`, which the declarations of the methods define, and turn errors into exit codes."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from napari_tessera import __version__
from napari_tessera.cli import STOPPED, TERMINATED
from napari_tessera.cli.terminal import (
    WIDEST,
    Parser,
    Terminated,
    filled,
    flush,
    is_broken_pipe,
    refusal,
    say,
    silence_stdout,
    telling,
)
from napari_tessera.core.errors import ParameterError, TesseraError, in_words, lacks_memory

DONE, FAILED, BAD_ARGUMENTS, OUTPUT_UNREAD = 0, 1, 2, 141
COMMANDS = {
    "run": ("replay", "run a recipe: the .json file beside earlier labels"),
    "evaluate": ("evaluate", "score labels against the truth"),
    "train": ("train", "train a network on labelled images"),
    "methods": ("main", "list the methods and what they do"),
    "models": ("models", "list the models of networks; show, import or remove one"),
    "demo": ("demo", "open napari on a real image with a result; --headless DIR writes files instead"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 failed, 2 bad arguments, 130 stopped by Ctrl-C, 143 by SIGTERM, 141 if the output pipe was closed.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with telling():
            code = _exit_code(words)
        flush()
    except OSError as error:
        if error.errno is None:  # raised by a library, not the system
            raise
        is_unread = is_broken_pipe(error)
        if not is_unread:
            _complain(refusal(error))
        silence_stdout()
        return OUTPUT_UNREAD if is_unread else FAILED
    return code


def _exit_code(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except SystemExit as ending:
        return int(ending.code or DONE)
    except KeyboardInterrupt as stop:
        _complain("Stopped. No half-written file was left.")
        return TERMINATED if isinstance(stop, Terminated) else STOPPED
    except ParameterError as error:
        _complain(error)
        return BAD_ARGUMENTS
    except TesseraError as error:
        _complain(error)
        return FAILED
    except Exception as error:
        if not lacks_memory(error):
            raise
        _complain(in_words(error))
        return FAILED


def _dispatch(words: list[str]) -> int:
    parser = _parser()
    if not words or words[0].startswith("-"):
        parser.parse_args(words)
        parser.print_help()
        return BAD_ARGUMENTS
    command, rest = words[0], words[1:]
    if command == "methods":
        return print_methods(rest)
    if command in COMMANDS:
        run: Callable[[list[str]], int] = import_module(f"napari_tessera.cli.{COMMANDS[command][0]}").main
        return run(rest)
    from napari_tessera.methods.registry import METHODS, method_named

    names = [method.name for method in METHODS]
    if command.replace("-", "_") not in names:
        near = difflib.get_close_matches(command, [*COMMANDS, *names], n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join([*names, *COMMANDS])}."
        parser.error(f"there is no method or command {command!r}. {hint}")
    from napari_tessera.cli.segment import segment_images

    return segment_images(method_named(command), rest)


def _parser() -> argparse.ArgumentParser:
    """Make the parser for the general help, without importing a method."""
    from napari_tessera.methods.registry import METHODS

    lines = ["methods:", *(f"  {method.name:<16} {method.title}" for method in METHODS)]
    lines += ["", "commands:", *(f"  {name:<16} {text}" for name, (_, text) in COMMANDS.items())]
    lines += ["", "tessera METHOD --help lists a method's settings."]
    lines += [
        "Exit codes: 0 done, 1 failed, 2 bad arguments, 130 stopped with Ctrl-C, 143 with SIGTERM, 141 output unread."
    ]
    parser = Parser(
        prog="tessera",
        usage="tessera METHOD IMAGE... -o OUT [settings]\n       tessera COMMAND ...",
        description="Turn images into labels.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tessera {__version__}")
    return parser


def _complain(message: object) -> None:
    say(f"tessera: {message}", is_error=True)


def print_methods(argv: list[str]) -> int:
    """Print each method's name and what it does."""
    from napari_tessera.methods.registry import METHODS

    Parser(prog="tessera methods", description="List the methods.").parse_args(argv)
    width = max(len(method.name) for method in METHODS)
    for method in METHODS:
        say(filled(method.summary, WIDEST, f"{method.name:<{width}}  "))
    return DONE
