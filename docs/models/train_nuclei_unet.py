"""The recipe of `nuclei-unet`: python train_nuclei_unet.py --data FOLDER --out nuclei-unet.safetensors

FOLDER holds BBBC038 with an index (see docs/data.md). Training can be killed at any moment and run
again: it goes on where it was.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from napari_tessera.counts import count_objects
from napari_tessera.jobs import drive
from napari_tessera.large.instances import instance_model, segment_instances
from napari_tessera.metrics import THRESHOLDS
from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.nn.weights import save_unet
from napari_tessera.overlaps import find_overlaps
from napari_tessera.train.examples import read_example, read_index
from napari_tessera.train.instances import as_batch, instance_loss
from napari_tessera.train.loop import Schedule, train
from napari_tessera.train.patches import Sampling, draw_batch, image_weights
from napari_tessera.train.targets import BACKGROUND, HEADS

GROUP_SHARE = {
    "fluorescence 256": 0.36,
    "fluorescence 520": 0.17,
    "fluorescence 360": 0.09,
    "fluorescence 512": 0.04,
    "fluorescence 603": 0.04,
    "fluorescence 260": 0.02,
    "stained": 0.22,
    "stained pink": 0.02,
    "brightfield": 0.04,
}
HEADER = {
    "name": "nuclei-unet",
    "task": "instances",
    "diameter_px": 24.0,
    "decoding": {},
    "trained_on": "BBBC038v1, stage-1 training set (CC0), doi:10.1038/s41592-019-0612-7",
    "licence": "CC0-1.0",
}


def group_of(row, image):
    """Name the kind of image, which decides how often it is seen."""
    if row["modality"] == "fluorescence":
        return f"fluorescence {row['height']}"
    if row["modality"] == "stained":
        red, _, blue = image.reshape(-1, 3).mean(0)
        return "stained pink" if red > blue + 15 else "stained"
    return row["modality"]


def read_split(folder, split):
    return [read_example(folder, row, group_of) for row in read_index(folder, split)]


def validation(examples):
    """Score by the mean of AP at 0.5 and mean AP over all images."""

    def validate(net):
        model = instance_model(net, HEADER)
        scores = []
        for example in examples:
            truth = np.maximum(example.labels - BACKGROUND, 0)
            labels = segment_instances(model, example.image)
            scores.append(count_objects(drive(find_overlaps(truth, labels)), THRESHOLDS).scores())
        ap = float(np.mean([each["ap"]["0.50"] for each in scores]))
        mean_ap = float(np.mean([each["map"] for each in scores]))
        return {"score": (ap + mean_ap) / 2, "ap": ap, "map": mean_ap}

    return validate


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--steps", type=int, default=12000)
    options.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    learn, check = (read_split(chosen.data, split) for split in ("train", "val"))
    sampling, weights = Sampling(diameter_px=HEADER["diameter_px"]), image_weights(learn, GROUP_SHARE)
    net = UNet(Architecture(4, HEADS, chosen.widths)).to(memory_format=torch.channels_last)
    thirds, tenths = chosen.steps // 3, max(1, chosen.steps // 10)
    schedule = Schedule(chosen.steps, cool_steps=thirds, validate_every=tenths, mixed=True, seed=chosen.seed)

    def draw(rng):
        return as_batch(*draw_batch(learn, weights, sampling, 4, rng))

    def show(progress):
        if progress.data["step"] % 50 == 0:
            parts = " ".join(f"{name} {value:.4g}" for name, value in progress.data.items())
            print(time.strftime("%H:%M:%S"), parts, flush=True)

    checkpoint = chosen.out.with_suffix(".ckpt")
    net = drive(train(net, draw, instance_loss, schedule, checkpoint, validation(check)), show)
    save_unet(chosen.out, net, HEADER)


if __name__ == "__main__":
    main()
