"""The U-Net: shapes, folding, and what is in its file."""

import pytest
import torch

from napari_tessera.models.unet import UNet, UNetArchitecture, fold_normalisation
from napari_tessera.models.weights import load_unet, read_tensors, save_model, write_tensors


def small_net(ndim=2, channels=2):
    torch.manual_seed(0)
    return UNet(UNetArchitecture(channels, {"classes": 3, "distance": 1}, widths=(4, 8, 12), ndim=ndim))


@pytest.mark.parametrize(("ndim", "shape"), [(2, (16, 24)), (3, (8, 16, 12))])
def test_each_head_has_the_size_of_the_input(ndim, shape):
    scores = small_net(ndim)(torch.zeros(2, 2, *shape))
    assert {name: tuple(each.shape) for name, each in scores.items()} == {
        "classes": (2, 3, *shape),
        "distance": (2, 1, *shape),
    }


def test_a_lower_level_sees_farther():
    net, image = small_net().eval(), torch.randn(1, 2, 64, 64, requires_grad=True)
    net(image)["distance"][0, 0, 32, 32].backward()
    seen = image.grad.abs().sum((0, 1)).nonzero()
    assert (seen.max(0).values - seen.min(0).values).min() >= 20


@pytest.mark.parametrize("ndim", [2, 3])
def test_folded_network_gives_the_same_scores(ndim):
    net = small_net(ndim)
    image = torch.randn(2, 2, *[8] * ndim)
    net(image)  # moves the running statistics away from 0 and 1
    net.eval()
    folded = fold_normalisation(net)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d) for layer in folded.modules())
    for name, scores in net(image).items():
        torch.testing.assert_close(folded(image)[name], scores, atol=1e-4, rtol=1e-4)


def test_saved_network_is_read_back_to_half_precision(tmp_path):
    net = small_net().eval()
    save_model(tmp_path / "net.safetensors", net, {"diameter_px": 24.0})
    again, header = load_unet(tmp_path / "net.safetensors")
    assert header["diameter_px"] == 24.0
    image = torch.randn(1, 2, 16, 16)
    torch.testing.assert_close(again(image)["classes"], net(image)["classes"], atol=1e-2, rtol=1e-2)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "net.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {"step": 1})
    with pytest.raises(TypeError):
        write_tensors(path, {"a": torch.zeros(2)}, {"step": object()})
    tensors, header = read_tensors(path)
    assert header == {"step": 1}
    assert tensors["a"].tolist() == [1, 1]
    assert [each.name for each in tmp_path.iterdir()] == ["net.safetensors"]
