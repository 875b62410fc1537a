"""Time each rule of region growing on 4096×4096 with about 6,000 seeds: seconds, longest step, longest wait of others.

Run with `python tests/benchmarks/bench_region_growing.py [size]`.
"""

import sys
import threading
import time

import numpy as np
from scipy import ndimage

from napari_tessera.core.jobs import run_job
from napari_tessera.methods.region_growing import region_growing


def blobs(size, pitch=53):
    """Return a noisy 16-bit image of even, slightly blurred discs on a grid, and the middle of each."""
    middles = np.stack(np.meshgrid(*2 * [np.arange(pitch // 2, size - pitch // 2, pitch)], indexing="ij"), -1)
    places = np.indices((size, size)) % pitch - pitch // 2
    discs = ((places**2).sum(0) < (pitch / 3) ** 2).astype(np.float32)
    noise = np.random.default_rng(0).normal(0.1, 0.03, discs.shape)
    image = ((ndimage.gaussian_filter(discs, 1) + noise).clip(0) * 20000).astype(np.uint16)
    return image, middles.reshape(-1, 2).astype(float)


def longest_wait(stop, waits):
    """Note how late a thread that asks for a millisecond of sleep is called back."""
    while not stop.is_set():
        before = time.perf_counter()
        time.sleep(0.001)
        waits.append(time.perf_counter() - before)


def timed(job):
    """Return seconds, the longest step, the longest wait of another thread, and what the job returns."""
    stop, waits, steps = threading.Event(), [0.0], []
    thread = threading.Thread(target=longest_wait, args=(stop, waits))
    thread.start()
    last = start = time.perf_counter()

    def note(_):
        nonlocal last
        now = time.perf_counter()
        steps.append(now - last)
        last = now

    result = run_job(job, note)
    stop.set()
    thread.join()
    return time.perf_counter() - start, max(steps), max(waits), result


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    image, seeds = blobs(size)
    run_job(region_growing(image[:64, :64], seeds[:1], criterion="adaptive"))  # compiles
    for rule in ("tolerance", "adaptive", "competing"):
        seconds, step, wait, (labels, table) = timed(region_growing(image, seeds, criterion=rule, tolerance=0.4))
        print(
            f"{rule:10} {len(seeds)} seeds {size}×{size}: {seconds:.2f} s, longest step {step:.2f} s, longest wait "
            f"{wait * 1e3:.0f} ms, {np.count_nonzero(labels) / labels.size:.0%} grown, "
            f"{int(table['num_contested_pixels'].sum())} px contested",
            flush=True,
        )
