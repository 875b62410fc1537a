"""Runs in blocks on the workers of a cluster, for every method, form of image and form of labels."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tifffile
import zarr
from distributed import Client, LocalCluster
from scipy import ndimage

from napari_tessera.core.jobs import Progress, run_job
from napari_tessera.engine import api
from napari_tessera.io import read_image, write_result
from napari_tessera.io.read import load, read_labels

INPUTS = ("TIFF", "zarr", "array")
OUTPUTS = ("TIFF", "zarr", "memory")


def spots(shape: tuple[int, ...] = (96, 96), seed: int = 0) -> np.ndarray:
    """Bright discs (balls, in volumes), many of them cut by any grid, on a noisy ground."""
    rng = np.random.default_rng(seed)
    centres = np.zeros(shape)
    centres[tuple(rng.integers(0, side, np.prod(shape) // 160) for side in shape)] = 1
    near = ndimage.distance_transform_edt(centres == 0)
    return (200 * np.clip(5.5 - near, 0, 1) + rng.normal(20, 3, shape)).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Case:
    """A method with its settings, on an image."""

    name: str
    method: str
    image: np.ndarray
    options: Mapping[str, Any] = field(default_factory=dict)


PLANE, FILM, VOLUME = spots(), spots((2, 60, 60), 1), spots((16, 48, 48), 2)
CASES = (
    Case("threshold, objects", "threshold", PLANE, {"output": "objects", "blocks": 32}),
    Case("threshold, classes", "threshold", PLANE, {"output": "classes", "method": "multi-otsu", "blocks": 32}),
    Case("threshold, film", "threshold", FILM, {"axes": "TYX", "output": "objects", "blocks": 32}),
    Case("threshold, volume", "threshold", VOLUME, {"output": "objects", "blocks": 16}),
    Case("kmeans", "kmeans", PLANE, {"n_clusters": 3, "blocks": 32}),
    Case("watershed", "watershed", PLANE, {"blocks": 32}),
    Case("watershed, mask", "watershed", PLANE, {"foreground": "mask", "mask": PLANE > 100, "blocks": 32}),
    Case("watershed, points", "watershed", PLANE, {"markers": np.argwhere(PLANE > 215)[::7], "blocks": 32}),
    Case("unet", "unet", PLANE, {"model": "nuclei-unet", "diameter": 12, "blocks": 48}),
    Case("mask_rcnn", "mask_rcnn", PLANE, {"model": "nuclei-mask-rcnn", "diameter": 12, "blocks": 48}),
)


def stored_as(source: str, case: Case, folder: Path) -> Any:
    """Return the image as an array, or write it to a file and return its name."""
    if source == "array":
        return case.image
    path = folder / f"{uuid4().hex}.{'tif' if source == 'TIFF' else 'zarr'}"
    if source == "TIFF":
        tifffile.imwrite(path, case.image, photometric="minisblack")
    else:
        zarr.create_array(path, data=case.image, chunks=tuple(min(20, side) for side in case.image.shape))
    return path


def labels_of(
    case: Case,
    image: Any,
    into: str,
    folder: Path,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> np.ndarray:
    """Segment an image, or what a file holds, and return the labels as they are read from where they went."""
    picture = read_image(image) if isinstance(image, Path) else None
    scratch = folder / uuid4().hex
    given = {**case.options, **options, **({"out": scratch} if into == "zarr" else {})}
    result = run_job(api.job(api.bind(case.method, image if picture is None else picture.data, **given)), on_progress)
    if into == "memory":
        return result.labels
    path = folder / f"{uuid4().hex}.{'tif' if into == 'TIFF' else 'ome.zarr'}"
    write_result(result, path, picture)
    return load(read_labels(path)).data


class Workers:
    """A dask scheduler with worker processes that can be killed."""

    def __init__(self) -> None:
        self.cluster = LocalCluster(n_workers=0, dashboard_address=":0")
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return self.cluster.scheduler_address

    def start(self, count: int = 2) -> None:
        """Start workers until there are as many as these."""
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--no-dashboard"]
        self.processes = [each for each in self.processes if each.poll() is None]
        while len(self.processes) < count:
            started = subprocess.Popen([*command, "--nthreads", "1"], cwd=self.folder, stderr=subprocess.DEVNULL)
            self.processes.append(started)
        with Client(self.cluster) as client:
            client.wait_for_workers(count, timeout=300)

    def kill_one(self) -> None:
        """End a worker wherever it is."""
        self.processes.pop(0).kill()

    def __enter__(self) -> Workers:
        self.folder = tempfile.mkdtemp()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.cluster.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Killer:
    """Kills one worker when the run comes to a pass."""

    def __init__(self, workers: Workers, at: str = "Labelling blocks") -> None:
        self.workers, self.at, self.killed = workers, at, 0

    def __call__(self, progress: Progress) -> None:
        """Look at the progress of the run."""
        if progress.text == self.at and not self.killed:
            self.workers.kill_one()
            self.killed += 1
