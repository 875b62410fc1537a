"""Memory of a U-Net on huge images: `python tests/benchmarks/bench_unet_memory.py [--sides 8192 16384] [--narrow]`.

A zarr of seeded nuclei (uint8, chunks of 512²) is segmented with `tessera unet IMAGE.zarr -o LABELS.zarr` in a fresh
process for each size. Memory is the highest resident size of that process, sampled every 20 ms from its first line on:
Python, torch, numba and all. Goals: 1.5 GB at 16384², and no more than for 8192² by 10 %.

With the shipped model, 16384² takes many minutes on two cores. `--narrow` takes a network of two channels instead that
finds what is bright: the same way through the program, without the time and memory of the network itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import psutil
import zarr

from napari_tessera import sample_data as samples

TILE_PX, NUCLEI_PER_TILE, CHUNK_PX = 512, 200, 512
BETWEEN_SAMPLES_S = 0.02
GOAL_GB, GOAL_GROWTH = 1.5, 0.10
TESSERA = [sys.executable, "-c", "import sys; from napari_tessera.cli.main import main; sys.exit(main())"]


def make_image(path: Path, side: int) -> None:
    """Write a square of nuclei: one tile, turned and mirrored at random."""
    tile = samples.nuclei_2d(0, (TILE_PX, TILE_PX), NUCLEI_PER_TILE).image.astype(np.float32)
    low, high = np.percentile(tile, [0.1, 99.9])
    tile = np.clip((tile - low) / (high - low) * 230 + 10, 0, 255).astype(np.uint8)
    image = zarr.create_array(path, shape=(side, side), chunks=(CHUNK_PX, CHUNK_PX), dtype=np.uint8)
    rng = np.random.default_rng(0)
    for y in range(0, side, TILE_PX):
        for x in range(0, side, TILE_PX):
            turned = np.rot90(tile[:: rng.choice([-1, 1])], rng.integers(4))
            image[y : y + TILE_PX, x : x + TILE_PX] = turned[: side - y, : side - x]


def segmented(image: Path, labels: Path, options: list[str]) -> tuple[int, float]:
    """Run the command; return the highest resident bytes and the seconds."""
    start, most = time.perf_counter(), 0
    process = subprocess.Popen([*TESSERA, "unet", str(image), "-o", str(labels), "--axes", "YX", "--quiet", *options])
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            most = max(most, watched.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(BETWEEN_SAMPLES_S)
    if process.wait():
        sys.exit(f"tessera failed with exit code {process.returncode}")
    return most, time.perf_counter() - start


def narrow_model(folder: Path) -> Path:
    """Write the model of `--narrow`."""
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.helpers.tiny_models import save_bright

    return save_bright(folder / "narrow.safetensors")


def count_objects(labels: Path) -> int:
    """Count the objects: the highest number in the labels, chunk by chunk."""
    level = zarr.open_group(labels)["0"]
    return max(int(level[y : y + CHUNK_PX].max()) for y in range(0, level.shape[0], CHUNK_PX))


def main() -> None:
    """Print the table."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[8192, 16384])
    parser.add_argument("--narrow", action="store_true", help="a network of two channels, for a quick check")
    parser.add_argument("--folder", type=Path, help="where the images and labels go for the time [a temporary folder]")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        options = ["--model", str(narrow_model(folder))] if arguments.narrow else []
        print("| side, px | peak, GB | seconds | objects |\n|---|---|---|---|")
        peaks = []
        for side in arguments.sides:
            image, labels = folder / f"{side}.zarr", folder / f"{side}-labels.zarr"
            make_image(image, side)
            peak, seconds = segmented(image, labels, options)
            peaks.append(peak / 1e9)
            print(f"| {side} | {peaks[-1]:.2f} | {seconds:.0f} | {count_objects(labels)} |", flush=True)
        growth = peaks[-1] / peaks[0] - 1
        print(
            f"Highest {max(peaks):.2f} GB (goal {GOAL_GB}); last against first {growth:+.1%} (goal {GOAL_GROWTH:+.0%})"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
