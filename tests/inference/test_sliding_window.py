"""Tiled prediction: what comes out does not depend on the tiles, on the size of the image or on memory."""

import time

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import OutOfMemory, RunError
from napari_tessera.core.jobs import run_job
from napari_tessera.inference.pixel_grid import network_grid, read_window, resampling
from napari_tessera.inference.predictor import Network
from napari_tessera.inference.sliding_window import computed_pixels, largest_side, predict, spans
from napari_tessera.models.unet import UNet, UNetArchitecture


def network(ndim=2, widths=(4, 6, 8)):
    """Make a network of random weights whose normalisation has seen noise, so that scores vary from pixel to pixel."""
    torch.manual_seed(1)
    net = UNet(UNetArchitecture(2, {"classes": 3, "distance": 1}, widths, ndim))
    with torch.no_grad():
        for _ in range(5):
            net(torch.randn(2, 2, *[16] * ndim))
    return Network(net.eval(), device="cpu", is_exact=True)


def exact_halo(net):
    """Return a halo beyond which nothing is lost: windows fade into each other in a third of it."""
    return net.architecture.reach_px * 3 // 2 + 1


def noise(*shape):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def reader(image):
    return lambda window: image[(slice(None), *window)]


def scores_of(net, image, factor=1.0, **settings):
    return run_job(predict(net, network_grid(image.shape[1:], factor), reader(image), **settings))


@pytest.mark.parametrize("factor", [1.0, 0.6, 1.7])
def test_many_small_tiles_give_the_scores_of_one_large_tile(factor):
    net, image = network(), noise(150, 201)
    halo = exact_halo(net)
    large = scores_of(net, image, factor, tile_px=1000, halo_px=halo)
    small = scores_of(net, image, factor, tile_px=32, halo_px=halo)
    for name, each in large.items():
        assert each.std() > 0.01
        np.testing.assert_allclose(small[name], each, atol=2e-5)


def test_volumes_are_tiled_along_z_too():
    net, image = network(ndim=3, widths=(3, 4)), noise(20, 34, 13)
    large = scores_of(net, image, tile_px=1000)
    small = scores_of(net, image, tile_px=16, halo_px=exact_halo(net))
    assert large["distance"].shape == (1, 20, 34, 13)
    np.testing.assert_allclose(small["classes"], large["classes"], atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (3, 2), (33, 65)])
def test_any_size_of_image_works(shape):
    scores = scores_of(network(), noise(*shape), tile_px=32)
    assert scores["classes"].shape == (3, *shape)
    np.testing.assert_allclose(scores["classes"].sum(0), 1, atol=1e-5)


def test_scores_lie_on_the_grid_of_the_network():
    assert scores_of(network(), noise(30, 41), 0.5)["distance"].shape == (1, 15, 20)
    assert scores_of(network(), noise(3, 2), 0.01)["distance"].shape == (1, 1, 1)


def test_averaged_scores_of_the_mirror_image_are_mirrored():
    net, image = network(), noise(40, 56)
    one = scores_of(net, image, augment=True)["distance"]
    mirrored = scores_of(net, image[..., ::-1], augment=True)["distance"]
    np.testing.assert_allclose(mirrored[..., ::-1], one, atol=1e-5)


def test_only_the_window_needed_is_read():
    image, asked = noise(400, 400), []

    def read(window):
        asked.append([part.stop - part.start for part in window])
        return image[(slice(None), *window)]

    run_job(predict(network(), network_grid((400, 400)), read, tile_px=64))
    assert np.max(asked) < 140


def test_windows_of_a_huge_image_that_is_shrunk_stay_modest():
    asked = []

    def read(window):
        asked.append(np.prod([part.stop - part.start for part in window]))
        return np.broadcast_to(np.float32(0), (2, *(part.stop - part.start for part in window)))

    assert run_job(predict(network(), network_grid((9000, 4000), 0.02), read))["distance"].shape == (1, 180, 80)
    assert len(asked) > 2
    assert max(asked) < 10e6


def test_the_same_image_gives_the_same_scores_bit_for_bit():
    net, image = network(), noise(100, 90)
    assert np.array_equal(scores_of(net, image)["classes"], scores_of(net, image)["classes"])


class SmallMemory:
    """A network on a device that holds few pixels."""

    def __init__(self, net, most_pixels):
        self.net, self.most_pixels, self.refused = net, most_pixels, 0

    def __getattr__(self, name):
        return getattr(self.net, name)

    def forward(self, batch):
        if batch[0, 0].size > self.most_pixels:
            self.refused += 1
            raise OutOfMemory("Too many pixels.")
        return self.net.forward(batch)


def test_tiles_become_smaller_until_memory_suffices():
    net, image = network(), noise(200, 200)
    small = SmallMemory(net, 110 * 110)
    np.testing.assert_allclose(scores_of(small, image)["classes"], scores_of(net, image)["classes"], atol=0.05)
    assert small.refused == 2


def test_too_little_memory_for_the_smallest_tile_is_an_error():
    with pytest.raises(OutOfMemory):
        scores_of(SmallMemory(network(), 10), noise(50, 50))


class Slow(SmallMemory):
    """A network that takes its time."""

    def forward(self, batch):
        time.sleep(0.3)
        return self.net.forward(batch)


def test_progress_comes_while_a_tile_is_computed_and_names_the_tile():
    steps = []
    run_job(predict(Slow(network(), 0), network_grid((60, 40)), reader(noise(60, 40)), tile_px=32), steps.append)
    assert len(steps) >= 12
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    assert steps[-1].text.startswith("Tile 4 of 4 on the processor")


class Batching(SmallMemory):
    """A network that computes several windows at once, as graphics cards do."""

    windows_at_once, batches = 4, ()

    def forward(self, batch):
        self.batches += (len(batch),)
        return self.net.forward(batch)


def test_windows_computed_at_once_give_the_same_scores():
    net, image = Batching(network(), 0), noise(30, 230)
    together = scores_of(net, image, tile_px=32)
    assert net.batches == (1, 4, 1, 1, 1)
    np.testing.assert_allclose(together["classes"], scores_of(net.net, image, tile_px=32)["classes"], atol=1e-5)


def test_an_error_while_reading_reaches_the_caller():
    def read(window):
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        run_job(predict(network(), network_grid((50, 50)), read))


def test_a_wrong_number_of_channels_is_named():
    with pytest.raises(RunError, match="channels"):
        scores_of(network(), noise(40, 40)[:1])


def test_closing_the_job_stops_it():
    slow = Slow(network(), 0)
    job = predict(slow, network_grid((60, 40)), reader(noise(60, 40)), tile_px=32)
    next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)


@pytest.mark.parametrize(("side", "factor"), [(40, 0.3), (40, 2.5), (7, 1.0)])
def test_rescaling_is_that_of_torch(side, factor):
    image = noise(side, side)
    grid = network_grid((side, side), factor)
    ours = read_window(reader(image), grid, [(0, size) for size in grid.size])
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], size=grid.size, mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-4)


@pytest.mark.parametrize("factor", [0.23, 0.9, 1.0, 3.3])
def test_windows_fit_together_as_cut_from_one_rescaled_image(factor):
    image = noise(60, 45)
    grid = network_grid((60, 45), factor)
    whole = read_window(reader(image), grid, [(-8, size + 8) for size in grid.size])
    part = read_window(reader(image), grid, [(3, 9), (-8, 5)])
    np.testing.assert_allclose(part, whole[:, 11:17, :13], atol=1e-6)


def test_resampling_to_half_the_size_averages():
    weights, first = resampling(np.array([2.5, 4.5]), 8, 2.0)
    assert first == 1
    assert weights.toarray().tolist() == [[0.125, 0.375, 0.375, 0.125, 0, 0], [0, 0, 0.125, 0.375, 0.375, 0.125]]


@pytest.mark.parametrize("size", [1, 5, 31, 64, 65, 100])
def test_the_weights_of_all_windows_add_up_to_one(size):
    total = np.zeros(size)
    for span in spans(size, side=24, step=8, halo=16):
        assert (span.read[1] - span.read[0]) % 8 == 0
        assert span.read[0] <= span.write[0] < span.write[1] <= span.read[1]
        total[slice(*span.write)] += span.weight
    assert total == pytest.approx(np.ones(size))


def test_a_short_axis_leaves_room_for_the_others():
    assert largest_side((4, 500, 500), step=8, halo=8, n_pixels=20 * 80 * 80) == 64
    assert largest_side((500, 500, 500), step=8, halo=8, n_pixels=50**3) == 34 // 8 * 8


def test_an_image_that_fits_is_seen_in_one_window():
    side = largest_side((100, 100), step=4, halo=40, n_pixels=110**2)
    assert len(spans(100, side, 4, 40)) == 1


def test_pixels_seen_include_halo_and_edge():
    assert computed_pixels((64,), side=64, step=8, halo=16) == 80
    assert computed_pixels((64, 64), side=32, step=8, halo=16) == 112**2
