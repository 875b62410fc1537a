"""Too little memory for a step: patches become smaller, and the training goes on."""

import numpy as np
import pytest
import torch

import napari_tessera as tessera
from napari_tessera.core.errors import OutOfMemory
from napari_tessera.core.jobs import run_job
from napari_tessera.models.unet import UNet
from napari_tessera.training.annotations.read import painting_of
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.session import fine_tuning, with_smaller_patches
from napari_tessera.training.settings import checked_settings

TINY = {"task": "classes", "start_from": "nothing", "widths": "4,8", "batch": 2, "steps": 2, "device": "cpu"}
NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
)


@pytest.fixture
def small_memory(monkeypatch):
    """Let torch have too little memory for patches wider than so many pixels, from a step on."""

    def limit(px, error=NO_MEMORY[0], first_step=0):
        whole, steps = UNet.forward, []

        def forward(net, images):
            steps.append(images.shape)
            if images.shape[-1] > px and len(steps) > first_step and net.training:
                raise error
            return whole(net, images)

        monkeypatch.setattr(UNet, "forward", forward)

    return limit


def strokes():
    image = np.random.default_rng(0).integers(0, 255, (80, 80)).astype(np.uint8)
    paint = np.zeros((80, 80), np.uint8)
    paint[30, 10:60], paint[40, 10:60] = 1, 2
    return image, paint


def trained(path, told=None, **settings):
    on_progress = None if told is None else lambda progress: told.append(progress.data or {})
    return tessera.fine_tune(*strokes(), path, on_progress=on_progress, **TINY | settings)


@pytest.mark.parametrize("error", NO_MEMORY, ids=["graphics card", "processor"])
def test_patches_are_halved_and_the_training_comes_to_its_end(tmp_path, small_memory, error):
    small_memory(32, error)
    halved = trained(tmp_path / "halved.safetensors", patch=64)
    assert halved.header["training"]["settings"]["patch_px"] == 32
    assert halved.is_finished


def test_it_is_said_and_recorded(tmp_path, small_memory):
    told = []
    small_memory(32)
    halved = trained(tmp_path / "halved.safetensors", told, patch=64)
    assert any("so they are 32 px wide" in each.get("warning", "") for each in told)
    assert any("so they are 32 px wide" in each for each in halved.header["training"]["warnings"])


def test_a_length_in_minutes_is_measured_with_what_fits(tmp_path, small_memory):
    small_memory(32)
    tiny = {name: value for name, value in TINY.items() if name != "steps"}
    settings = checked_settings(tiny | {"painted": True, "patch": 64, "minutes": 1})
    painting = painting_of("strokes", *strokes(), 2)
    halved = run_job(fine_tuning([painting], tmp_path / "halved.safetensors", settings, should_stop=lambda: True))
    assert halved.header["training"]["settings"]["patch_px"] == 32


def test_memory_that_ends_later_goes_on_from_the_checkpoint(tmp_path, small_memory):
    told = []
    small_memory(32, first_step=2)
    trained(tmp_path / "later.safetensors", told, patch=64, steps=4, save_every=0)
    assert [each["step"] for each in told if "loss" in each] == [1, 2, 3, 4]


def test_too_little_for_the_smallest_patches_says_what_to_do(tmp_path, small_memory):
    small_memory(16)
    with pytest.raises(OutOfMemory, match="smaller `patch` or `batch`"):
        trained(tmp_path / "none.safetensors", patch=64)


def test_patches_stay_what_the_network_can_halve():
    assert with_smaller_patches(TrainingConfig(patch_px=160, widths=(4, 8, 16, 32, 64, 128))).patch_px == 64
    assert with_smaller_patches(TrainingConfig(network="mask-rcnn", patch_px=96)).patch_px == 32


def test_volumes_become_flatter_too():
    assert with_smaller_patches(TrainingConfig(ndim=3, patch_px=64, depth_px=64)).depth_px == 32
