"""Tiled prediction against MONAI's: `pip install --no-deps monai; python tests/benchmarks/bench_sliding_window.py`.

A seeded image of touching blobs, on the processor. Ours: the network as `load_network` prepares it, in windows as
`predict` lays them. MONAI's: `sliding_window_inference` (overlap 0.25, Gaussian) over the very same module in plain
eval mode. Both start from the same channels and end with the same scores in memory; the same decoding makes objects of
either. Runs take turns; times are medians. Shares are useful operations (those of the image's own pixels, what
windows compute twice left out) per second, over the fastest of a few 3×3 convolutions measured in the same run.
"""

from __future__ import annotations

import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from field import blob_field

import napari_tessera
from napari_tessera.core.jobs import run_job
from napari_tessera.inference.cost import estimate_unet
from napari_tessera.inference.decode_unet import UNetOptions, objects_of
from napari_tessera.inference.normalization import measure_levels, network_channels
from napari_tessera.inference.pixel_grid import network_grid
from napari_tessera.inference.predictor import Network
from napari_tessera.inference.sliding_window import predict
from napari_tessera.metrics.segmentation import evaluate
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import load_unet

MODEL = Path(napari_tessera.__file__).parent / "models" / "nuclei-unet.safetensors"
BLOBS = 6000
CONVOLUTIONS = ((32, 256), (64, 128), (128, 64), (256, 32))
"""Channels and side of the images by which the machine's own rate is measured."""
OVERLAP = 0.25

Scores = dict[str, np.ndarray]


def convolution_rate(dtype: torch.dtype) -> float:
    """Return the operations per second of the machine's fastest 3×3 convolution."""
    return max(_rate(channels, side, dtype) for channels, side in CONVOLUTIONS)


def _rate(channels: int, side: int, dtype: torch.dtype) -> float:
    convolution = torch.nn.Conv2d(channels, channels, 3, padding=1).to(dtype)
    image = torch.randn(1, channels, side, side).to(dtype, memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for _ in range(10):
            start = time.perf_counter()
            convolution(image)
            seconds.append(time.perf_counter() - start)
    return 2 * 9 * channels * image.numel() / min(seconds)


def tiled_by_monai(net: UNet, channels: np.ndarray, roi: int, batch: int) -> Scores:
    """Predict with MONAI, and turn the scores into what `Network.forward` gives."""
    from monai.inferers import sliding_window_inference

    with torch.inference_mode():
        images = torch.from_numpy(channels)[None]
        said = sliding_window_inference(images, (roi, roi), batch, net, overlap=OVERLAP, mode="gaussian")
        assert isinstance(said, dict)
        said["classes"] = said["classes"].softmax(1)
        if "distance" in said:
            said["distance"] = said["distance"].clamp(0, 1)
    return {name: each[0].numpy() for name, each in said.items()}


def tiled_by_us(network: Network, channels: np.ndarray) -> Scores:
    """Predict with `predict`."""
    return run_job(predict(network, network_grid(channels.shape[1:]), lambda window: channels[(slice(None), *window)]))


def in_turns(runs: Mapping[str, Callable[[], Scores]], repeats: int) -> tuple[dict[str, Scores], dict[str, float]]:
    """Run each several times, taking turns; return the scores and the median seconds."""
    scores: dict[str, Scores] = {}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            scores[name] = run()
            seconds[name].append(time.perf_counter() - start)
    return scores, {name: statistics.median(each) for name, each in seconds.items()}


def compare(net: UNet, header: dict[str, Any], channels: np.ndarray, options: Any) -> dict[str, Scores]:
    """Print seconds, ratio and shares of one network; return the scores of each way to tile."""
    ours, exact = Network(net, header, "cpu"), Network(net, header, "cpu", is_exact=True)
    runs = {
        "ours": lambda: tiled_by_us(ours, channels),
        "ours, float32": lambda: tiled_by_us(exact, channels),
        "MONAI": lambda: tiled_by_monai(net, channels, options.roi, options.batch),
    }
    tiled_by_us(ours, channels[:, :64, :64])
    scores, seconds = in_turns(runs, options.repeats)
    operations = net.architecture.operations_per_pixel * channels[0].size
    rate, fast = convolution_rate(torch.float32), convolution_rate(ours.dtype)
    print(f"3×3 convolutions: float32 {rate / 1e9:.0f}, {ours.dtype} {fast / 1e9:.0f} billion operations a second")
    print(f"  expected for ours: {estimate_unet(header, channels.shape[1:], device='cpu').seconds:.2f} s")
    for name, each in seconds.items():
        own = fast if name == "ours" else rate
        print(
            f"  {name:14} {each:6.2f} s, {seconds['MONAI'] / each:4.2f} times as fast as MONAI, "
            f"{operations / each / rate:.0%} of the float32 rate, {operations / each / own:.0%} of its own type's",
            flush=True,
        )
    return scores


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--roi", type=int, default=256, help="side of MONAI's windows")
    parser.add_argument("--batch", type=int, default=4, help="how many windows MONAI computes at once")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = blob_field(options.size, BLOBS)
    channels = network_channels(image, measure_levels(image))
    net, header = load_unet(options.model)
    print(f"{options.size}×{options.size}, {options.threads} threads, {options.model.stem}:")
    scores = compare(net, header, channels, options)
    labels = {
        name: run_job(objects_of(each, header, UNetOptions(), network_grid(image.shape)))
        for name, each in scores.items()
    }
    for name in ("ours", "ours, float32"):
        same = evaluate(labels["MONAI"], labels[name])["ap"]
        print(f"  labels of {name} against MONAI's {labels['MONAI'].max()}: AP@0.5 {same['0.50']:.4f}", flush=True)
    torch.manual_seed(0)
    plain = UNet(UNetArchitecture(len(channels), {"classes": 2}, (16, 32, 64, 128, 256))).eval()
    print("A plain U-Net of width 16:")
    compare(plain, {"architecture": plain.architecture.as_json()}, channels, options)


if __name__ == "__main__":
    main()
