"""`tessera demo`."""

from __future__ import annotations

from pathlib import Path

from napari_tessera.cli.terminal import Parser, say


def main(argv: list[str]) -> int:
    """Show a result on a real image, in a window or, where none can open, as files; return the exit code."""
    from napari_tessera import demo

    parser = Parser(
        prog="tessera demo",
        description="Open napari on a real image with a result and the widget beside it. Nothing is downloaded.",
    )
    parser.add_argument(
        "--headless",
        type=Path,
        metavar="DIR",
        help="open no window: write labels and a picture to DIR, print the counts",
    )
    folder = parser.parse_args(argv).headless
    if folder is None and (reason := demo.why_no_window()) is None:
        try:
            from napari_tessera.gui.demo import open_demo
        except RuntimeError as error:  # napari compiles, too, and does not start where it cannot keep the code
            reason = f"napari does not start: {error}; set NUMBA_CACHE_DIR to a folder that can be written to"
        else:
            open_demo()
            return 0
    if folder is None:
        folder = demo.FOLDER
        say(f"No window can be opened ({reason}); writing files to {folder} instead.")
    demo.write_demo(folder)
    return 0
