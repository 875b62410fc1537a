"""How many source files a second run enters: watershed, U-Net and `fine_tune` on 96×96 pixels.

`python tests/benchmarks/count_files_entered.py` prints the counts; with `--names` also the files. A reader who follows
one run from its call to its result has to open that many files at most.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import napari_tessera as tessera

PACKAGE = Path(tessera.__file__).parent


def files_entered(run: Callable[[], Any]) -> list[str]:
    """Return the source files of which a function is called, in any thread, while `run` runs."""
    entered = set()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            entered.add(frame.f_code.co_filename)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(str(Path(file).relative_to(PACKAGE)) for file in entered if file.startswith(str(PACKAGE)))


def main() -> None:
    """Print a line for each run."""
    image = np.random.default_rng(0).integers(0, 255, (96, 96)).astype(np.uint8)
    painted = np.zeros((96, 96), np.int32)
    painted[10:40, 10:40], painted[50:80, 50:80] = 1, 2
    with tempfile.TemporaryDirectory() as folder:
        names = iter(range(9))
        runs = {
            "segment watershed": lambda: tessera.segment("watershed", image, axes="YX"),
            "segment unet": lambda: tessera.segment("unet", image, axes="YX"),
            "fine_tune": lambda: tessera.fine_tune(
                image,
                painted,
                Path(folder) / f"model{next(names)}.safetensors",
                axes="YX",
                start_from="nothing",
                steps=2,
            ),
        }
        for name, run in runs.items():
            run()
            files = files_entered(run)
            print(f"{name:<18} {len(files):>3} files")
            if "--names" in sys.argv:
                print("  " + "\n  ".join(files))


if __name__ == "__main__":
    main()
