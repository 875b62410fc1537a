"""`tessera demo`."""

from __future__ import annotations

import argparse
from pathlib import Path


def main(argv: list[str]) -> int:
    """Show a result on a real image; return the exit code."""
    from napari_tessera import demo

    parser = argparse.ArgumentParser(
        prog="tessera demo",
        description="Open napari on a real image with a result and the widget beside it. Nothing is downloaded.",
    )
    parser.add_argument(
        "--headless",
        type=Path,
        metavar="DIR",
        help="open no window: write labels and a picture to DIR, print the counts",
    )
    return demo.main(parser.parse_args(argv).headless)
