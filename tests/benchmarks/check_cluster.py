"""Every method in blocks on worker processes of which one is killed: the labels must be those of a run without them.

    python tests/benchmarks/check_cluster.py [METHOD ...]

Images come as TIFF, zarr and arrays; labels go to TIFF, zarr and memory. Prints a table; the exit code is 1 if any
labels differ.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.cluster_runs import CASES, INPUTS, OUTPUTS, Case, Killer, Workers, labels_of, stored_as


def main(methods: list[str]) -> int:
    """Check all cases, or those of the methods named."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, Workers() as workers:
        print(f"{'':32}" + "".join(f"{into:>20}" for into in OUTPUTS))
        for case in CASES:
            if not methods or case.method in methods:
                for source in INPUTS:
                    wrong += _row(case, source, Path(folder), workers)
    return 1 if wrong else 0


def _row(case: Case, source: str, folder: Path, workers: Workers) -> int:
    cells = [_cell(case, source, into, folder, workers) for into in OUTPUTS]
    print(f"{case.name:24}{source:8}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    return sum("same" not in cell for cell in cells)


def _cell(case: Case, source: str, into: str, folder: Path, workers: Workers) -> str:
    image = stored_as(source, case, folder)
    here = labels_of(case, image, into, folder)
    workers.start()
    killer = Killer(workers)
    started = time.perf_counter()
    there = labels_of(case, image, into, folder, killer, scheduler=workers.address)
    seconds = time.perf_counter() - started
    is_same = np.array_equal(here, there) and here.any()
    return f"{'same' if is_same else 'DIFFERENT'} {killer.killed} killed {seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
