"""How long Cancel of a training takes: from the end of a step, and while it validates or writes a checkpoint.

`python tests/benchmarks/bench_cancel_training.py` trains a U-Net and a Mask R-CNN from the shipped models on the sample
nuclei. A job is cancelled between two of its steps, so the longest time between them counts; those of a training step
itself are shown apart. Then a training is cancelled after its second step, and the time of `close` is shown.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.jobs import Job, finish_writing
from napari_tessera.sample_data import nuclei_2d
from napari_tessera.training.interactive import AnnotatedLayer, TrainingRequest, learning
from napari_tessera.training.live_prediction import Viewport

SETTINGS = {
    "U-Net": {"start_from": "nuclei-unet", "steps": 6, "validations": 2},
    "Mask R-CNN": {"network": "mask-rcnn", "start_from": "nuclei-mask-rcnn", "steps": 6, "validations": 2},
}


def training(out: Path, **settings: Any) -> Job[Any]:
    """Train on a corner of the sample nuclei, with live predictions."""
    image, truth, *_ = nuclei_2d()
    paint = np.zeros(truth.shape, np.int32)
    paint[:200, :200] = truth[:200, :200] + 1
    view = Viewport(0, (), (slice(0, 512), slice(0, 512)))
    return learning(TrainingRequest([AnnotatedLayer("nuclei", image, paint, "YX")], out, settings), lambda: view)


def is_step(data: Any) -> bool:
    """Return whether this reports a training step."""
    return isinstance(data, dict) and "loss" in data


def gaps(job: Job[Any]) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
    """Return the times before each report with what was reported, of training steps and of all else."""
    steps, others, last = [], [], time.perf_counter()
    for progress in job:
        now = time.perf_counter()
        (steps if is_step(progress.data) else others).append((now - last, progress.text))
        last = time.perf_counter()
    return steps, others


def seconds_to_close(job: Job[Any]) -> float:
    """Cancel a training after its second step, and return how long that takes."""
    for progress in job:
        if is_step(progress.data) and progress.data["step"] == 2:
            break
    began = time.perf_counter()
    job.close()
    return time.perf_counter() - began


def main() -> None:
    """Print the longest times for each network; the first training, which loads and compiles, is left out."""
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in SETTINGS.items():
            for _ in training(Path(folder) / "first.safetensors", **settings):
                pass
            steps, others = gaps(training(Path(folder) / "model.safetensors", **settings))
            closing = seconds_to_close(training(Path(folder) / "cancelled.safetensors", **settings))
            finish_writing()
            print(f"{name}: training steps at most {max(steps)[0]:.2f} s; close {closing:.2f} s; longest of all else")
            for seconds, text in sorted(others, reverse=True)[:4]:
                print(f"  {seconds:.2f} s  {text}")
            for path in Path(folder).iterdir():
                path.unlink()


if __name__ == "__main__":
    main()
