"""Devices in words, and errors of torch in words."""

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import OutOfMemory, ParameterError, RunError
from napari_tessera.inference.cost import convolution_rate, estimate_unet
from napari_tessera.inference.predictor import Network, load_network, translate_torch_errors
from napari_tessera.inference.sliding_window import unet_pixels_at_once
from napari_tessera.models.device import KINDS, choose, devices, free_bytes, is_present
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import save_model

SMALL = UNetArchitecture(1, {"classes": 2}, widths=(4, 8))


def test_the_processor_is_always_there_and_named_in_words():
    last = devices()[-1]
    assert last.kind == "cpu"
    assert last.title.startswith("the processor (")


def test_auto_takes_the_fastest_present():
    assert choose("auto") == devices()[0].kind


@pytest.mark.parametrize("kind", KINDS)
def test_an_absent_device_is_named_with_what_there_is(kind):
    if is_present(kind):
        assert choose(kind) == kind
        return
    with pytest.raises(ParameterError, match="the processor") as caught:
        choose(kind)
    assert caught.value.parameter == "device"


def test_an_unknown_device_is_refused():
    with pytest.raises(ParameterError, match="'auto' or one of 'cuda', 'mps', 'cpu'"):
        choose("tpu")


def test_free_memory_is_less_than_all():
    assert 0 < free_bytes("cpu") < devices()[-1].n_bytes


def test_more_memory_than_there_is_says_what_to_do():
    with (
        pytest.raises(OutOfMemory, match=r"on the processor for the network .*Close other programs, or segment a part"),
        translate_torch_errors("the processor"),
    ):
        torch.empty(2**48)


def test_other_failures_of_torch_are_our_own_error():
    with pytest.raises(RunError, match="Nothing was changed") as caught, translate_torch_errors("the processor"):
        torch.zeros(2) @ torch.zeros(3)
    assert not isinstance(caught.value, OutOfMemory)


def test_a_file_is_loaded_once_and_anew_after_a_change(tmp_path):
    path = tmp_path / "net.safetensors"
    save_model(path, UNet(SMALL), {})
    first = load_network(path, "cpu")
    assert load_network(path, "cpu") is first
    save_model(path, UNet(SMALL), {})
    assert load_network(path, "cpu") is not first


def test_a_network_is_a_copy_that_leaves_the_original_alone():
    net = UNet(SMALL).eval()
    image = np.ones((1, 1, 4, 4), np.float32)
    network = Network(net, device="cpu", is_exact=True)
    before = network.forward(image)["classes"]
    with torch.no_grad():
        net.heads["classes"].weight += 1
    assert np.array_equal(network.forward(image)["classes"], before)


def test_class_scores_are_probabilities_and_distances_lie_between_0_and_1():
    net = UNet(UNetArchitecture(1, {"classes": 2, "distance": 1, "size": 1}, (4, 8))).eval()
    with torch.no_grad():
        net.heads["distance"].bias.fill_(0.5)
        net.heads["size"].bias.fill_(-5)
    scores = Network(net, device="cpu").forward(np.random.default_rng(0).normal(0, 9, (2, 1, 16, 16)))
    assert scores["classes"].dtype == np.float32
    assert scores["classes"].sum(1) == pytest.approx(np.ones((2, 16, 16)), abs=1e-6)
    assert scores["distance"].min() >= 0
    assert scores["distance"].max() <= 1
    assert scores["size"].min() < 0


def test_low_precision_says_nearly_the_same():
    torch.manual_seed(0)
    net, image = UNet(SMALL).eval(), np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32)
    exact, fast = (Network(net, device="cpu", is_exact=is_exact).forward(image) for is_exact in (True, False))
    np.testing.assert_allclose(fast["classes"], exact["classes"], atol=0.02)


def test_nothing_beyond_the_reach_has_an_influence():
    net = UNet(SMALL).eval()
    for row in (32, 33):
        image = torch.randn(1, 1, 64, 64, requires_grad=True)
        net(image)["classes"][0, 0, row, row].backward()
        seen = image.grad[0, 0].nonzero()
        assert (seen - row).abs().max() <= SMALL.reach_px


def test_a_window_sees_a_good_share_of_the_reach_in_whole_steps():
    assert UNetArchitecture(5, {}, (24, 48, 96, 192, 256)).reach_px == 122
    assert UNetArchitecture(5, {}, (24, 48, 96, 192, 256)).halo_px == 64


def test_operations_are_those_of_the_convolutions():
    counted = 0

    def count(layer, _, out):
        nonlocal counted
        per_pixel = layer.weight[0].numel() if isinstance(layer, torch.nn.Conv2d) else layer.in_channels
        counted += 2 * per_pixel * out.numel()

    net = UNet(UNetArchitecture(3, {"classes": 3, "distance": 1}, (4, 6, 8)))
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 3, 16, 16))
    assert net.architecture.operations_per_pixel == pytest.approx(counted / 16**2)


def test_averaging_and_magnifying_cost_more():
    header = {"architecture": UNetArchitecture(5, {"classes": 3}, (8, 16)).as_json()}
    plain = estimate_unet(header, (512, 512), device="cpu")
    assert estimate_unet(header, (512, 512), device="cpu", augment=True).seconds == pytest.approx(4 * plain.seconds)
    assert estimate_unet(header, (256, 256), 2.0, "cpu").seconds == pytest.approx(plain.seconds)
    assert estimate_unet(header, (10, 256, 256), 2.0, device="cpu").seconds == pytest.approx(10 * plain.seconds)
    assert plain.n_bytes > 3 * 4 * 512**2


def test_memory_grows_with_the_width_of_the_network():
    wide = UNetArchitecture(1, {"classes": 2}, widths=(8, 16))
    assert wide.bytes_per_pixel(torch.float32) > SMALL.bytes_per_pixel(torch.float32)


def pixels_of(architecture):
    return unet_pixels_at_once(architecture, "cpu", torch.float32)


def test_windows_of_a_wider_network_hold_fewer_pixels():
    assert 0 < pixels_of(UNetArchitecture(1, {"classes": 2}, (8, 16))) < pixels_of(SMALL)


def test_windows_of_a_volume_may_be_more_work():
    volume = UNetArchitecture(1, {"classes": 2}, (32, 64), ndim=3)
    plane = UNetArchitecture(1, {"classes": 2}, (32, 64))
    assert pixels_of(volume) * volume.operations_per_pixel > pixels_of(plane) * plane.operations_per_pixel


def test_the_rate_of_a_device_is_measured_once():
    assert convolution_rate("cpu") == convolution_rate("cpu") > 1e8
