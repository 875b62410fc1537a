"""Memory that does not suffice is named as the cause, whatever a library says; networks try smaller tiles first."""

import logging
import os
import re
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, OutOfMemory, RunError, lacks_memory, say_once
from napari_tessera.inference.predictor import Network, translate_torch_errors
from napari_tessera.models.device import free_bytes
from napari_tessera.models.unet import UNet, UNetArchitecture
from tests.inference.test_sliding_window import noise, scores_of

resource = pytest.importorskip("resource", reason="Windows cannot limit a process")

LIMITED = """
import resource, numpy as np, psutil
import napari_tessera as tessera
from napari_tessera.core.jobs import run_job
from napari_tessera.models.load_torch import load_torch
def allow(megabytes):
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, -1))
def said(action):
    try:
        action()
    except Exception as error:
        print(type(error).__name__, error)
"""
"""One program more in a process of its own, whose memory the system limits."""


def said_by(program):
    """Return what a limited process printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED + program], env=environment, capture_output=True, text=True, timeout=120
    )
    return ended.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to the limit")
def test_torch_that_finds_no_room_need_not_be_installed_anew():
    said = said_by("allow(60)\nsaid(lambda: run_job(load_torch()))")
    assert said.startswith("RunError PyTorch, which runs the networks, cannot be loaded: memory is insufficient")
    assert "Install" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to the limit")
@pytest.mark.parametrize(
    ("megabytes", "method", "what"),
    [
        (70, "threshold", "SciPy, which the methods use,"),
        (250, "watershed", "The compiler that this method needs"),
        (700, "unet", "PyTorch, which runs the networks,"),
    ],
)
def test_a_library_without_room_is_not_loaded(megabytes, method, what):
    """OpenBLAS would wait for ever, LLVM and OpenMP end the process."""
    image = "image = np.arange(4096, dtype=np.uint16).reshape(64, 64)\n"
    said = said_by(f"{image}allow({megabytes})\nsaid(lambda: tessera.segment({method!r}, image))")
    assert said.startswith(f"RunError {what} cannot be loaded: memory is insufficient. It takes about ")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to the limit")
@pytest.mark.parametrize(
    ("megabytes", "command"),
    [
        (1000, ["unet", "image.npy", "-o", "out.tif"]),
        (1000, ["train", "image.npy", "image.npy", "-o", "out.safetensors"]),
        (500, ["watershed", "image.npy", "-o", "out.zarr"]),
        (250, ["evaluate", "image.npy", "image.npy"]),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else None,
)
def test_a_command_without_room_ends_with_one_sentence(tmp_path, megabytes, command):
    np.save(tmp_path / "image.npy", np.arange(4096, dtype=np.uint16).reshape(64, 64))
    ended = subprocess.run(
        [sys.executable, "-c", "from napari_tessera.cli import script; script()", *command],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, -1)),
        env=os.environ | {"OPENBLAS_NUM_THREADS": "2"}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert re.fullmatch(r"tessera: .*cannot be loaded: memory is insufficient\..*\n", ended.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["image.npy"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to the limit")
def test_an_array_too_large_is_our_own_error():
    program = "image = np.zeros((4000, 4000), np.uint8)\ntessera.threshold(image[:99, :99], sigma=1)\nallow(50)\n"
    said = said_by(program + "said(lambda: tessera.segment('threshold', image, sigma=1))")
    assert re.match(r"RunError threshold ran out of memory on an image of shape \(4000, 4000\) \(.+\). Segment", said)


def test_what_a_library_says_of_a_file_that_lacks_memory_is_not_the_cause():
    error = OSError("Could not find/load shared object file 'libllvmlite.so'")
    assert not lacks_memory(error)
    error.__cause__ = OSError("llvm.so: failed to map segment from shared object")
    assert lacks_memory(error)


def test_memory_that_the_system_withholds_is_not_free():
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**30, before[1]))
    try:
        assert free_bytes("cpu") <= 2**30
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_an_array_that_no_memory_holds_is_our_own_error():
    endless = np.broadcast_to(np.uint8(7), (2**24, 2**24))
    with pytest.raises(RunError, match=r"^threshold ran out of memory on an image of shape \(16777216, 16777216\)"):
        tessera.segment("threshold", endless)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("could not create a primitive"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object: Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OutOfMemory("Too many pixels."),
    ],
    ids=lambda error: str(error)[:30],
)
def test_lack_of_memory_has_many_names(error):
    assert lacks_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive descriptor for the convolution forward propagation primitive"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object: Operation not permitted"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        InputError("The image does not fit: it is out of memory of all users."),
        ValueError("array must not contain infs or NaNs"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_other_errors_are_not_taken_for_it(error):
    assert not lacks_memory(error)


def test_on_the_processor_another_device_is_no_advice():
    with pytest.raises(OutOfMemory) as caught, translate_torch_errors("the processor (2 cores)"):
        raise RuntimeError("could not create a primitive")
    assert str(caught.value) == (
        "There is too little memory on the processor (2 cores) for the network (could not create a primitive). Close "
        "other programs, or segment a part of the image."
    )


def test_a_graphics_card_that_fails_has_the_processor_beside_it():
    with pytest.raises(RunError, match="Try `device` 'cpu'"), translate_torch_errors("NVIDIA H200, 139 GB"):
        raise RuntimeError("misaligned address")


def test_scores_of_smaller_tiles_are_those_of_tiles_chosen_so(monkeypatch, caplog):
    torch.manual_seed(0)
    network = Network(UNet(UNetArchitecture(2, {"classes": 3}, (2, 3))).eval(), {}, "cpu", is_exact=True)
    image, whole = noise(150, 150), UNet.features
    chosen = scores_of(network, image, tile_px=50)

    def limited(net, images):
        if images.shape[-1] > 70:
            raise RuntimeError("could not create a primitive")
        return whole(net, images)

    monkeypatch.setattr(UNet, "features", limited)
    say_once.cache_clear()
    with caplog.at_level(logging.WARNING, "napari_tessera"):
        halved = scores_of(network, image, tile_px=100)
    np.testing.assert_array_equal(halved["classes"], chosen["classes"])
    assert "Memory did not suffice for tiles of 100 px, so they are 50 px wide" in caplog.text
