"""`tessera methods`: a table of what there is."""

from __future__ import annotations

import textwrap

from napari_tessera.cli.terminal import Parser, say


def main(argv: list[str]) -> int:
    """Print each method's name and what it does."""
    from napari_tessera.registry import METHODS

    Parser(prog="tessera methods", description="List the methods.").parse_args(argv)
    width = max(len(method.name) for method in METHODS)
    for method in METHODS:
        say(
            textwrap.fill(
                method.summary, 110, initial_indent=f"{method.name:<{width}}  ", subsequent_indent=" " * (width + 2)
            )
        )
    return 0
