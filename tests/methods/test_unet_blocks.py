"""The U-Net in blocks finds what it finds in one piece."""

from __future__ import annotations

import math
from functools import partial

import dask.array as da
import numpy as np
import pytest
import zarr
from scipy import ndimage

import napari_tessera as tessera
from napari_tessera import sample_data as samples
from napari_tessera.algorithms.histogram import measure_block
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.tiles import tiles
from napari_tessera.engine import api
from napari_tessera.inference import scale_search as scale
from napari_tessera.inference.pixel_grid import network_grid, read_window
from napari_tessera.methods import _network_blocks as network_blocks
from napari_tessera.methods import unet as unet_blocks
from napari_tessera.methods._network_blocks import BlockMargins, counted, percentiles, rounds
from tests.helpers.tiny_models import save_bright


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """A model that finds what is bright, and knows no size."""
    return str(save_bright(tmp_path_factory.mktemp("models") / "bright.safetensors"))


@pytest.fixture(scope="module")
def sized(tmp_path_factory):
    """The same model, at home with objects 16 pixels wide."""
    return str(save_bright(tmp_path_factory.mktemp("models") / "sized.safetensors", diameter_px=16.0))


@pytest.fixture(scope="module")
def nuclei():
    """Nuclei without noise, so that no object is a matter of chance."""
    return smooth(samples.nuclei_2d(1, (150, 170), 40).image)


def smooth(image):
    return ndimage.gaussian_filter(image.astype(float), 2.5).astype(np.uint16)


def agreement(whole, blocks):
    return tessera.evaluate(whole, blocks)["ap"]["0.50"]


@pytest.mark.parametrize("blocks", [64, (50, 90), 128])
def test_objects_in_blocks_are_those_of_one_piece(bright, nuclei, blocks):
    whole = tessera.segment("unet", nuclei, model=bright).labels
    assert whole.max() > 10
    assert agreement(whole, tessera.segment("unet", nuclei, model=bright, blocks=blocks).labels) >= 0.99


@pytest.mark.parametrize("diameter", [12, 16, 29])
def test_rescaled_blocks_fit_together(sized, nuclei, diameter):
    whole = tessera.segment("unet", nuclei, model=sized, diameter=diameter).labels
    blocks = tessera.segment("unet", nuclei, model=sized, diameter=diameter, blocks=64).labels
    assert agreement(whole, blocks) >= 0.99


def test_dim_block_is_seen_as_dim(bright):
    image = np.zeros((64, 128), np.uint8)
    image[20:30, 20:30] = 40
    image[20:30, 90:100] = 200
    labels = tessera.segment("unet", image, model=bright, blocks=64).labels
    assert labels.max() == 1
    assert labels[25, 95] == 1


def test_classes_in_blocks_are_those_of_one_piece(bright, nuclei):
    whole = tessera.segment("unet", nuclei, model=bright, output="classes").labels
    np.testing.assert_array_equal(
        tessera.segment("unet", nuclei, model=bright, output="classes", blocks=64).labels, whole
    )


def test_small_objects_are_counted_over_all_blocks_before_they_are_dropped(bright):
    image = np.zeros((60, 120), np.uint8)
    image[20:30, 55:65] = 200  # 50 pixels in either block
    image[20:26, 90:96] = 200
    options = {"model": bright, "min_size": 60, "blocks": 60}
    assert tessera.segment("unet", image, **options).labels.max() == 1


def test_volume_plane_by_plane_in_blocks(bright):
    stack = smooth(samples.nuclei_3d(0, (12, 60, 60), 8).image)
    whole = tessera.segment("unet", stack, model=bright, stitch_threshold=0.1).labels
    blocks = tessera.segment("unet", stack, model=bright, stitch_threshold=0.1, blocks=(5, 32, 32)).labels
    assert whole.max() >= 3
    assert agreement(whole, blocks) >= 0.99


def test_colours_and_frames_in_blocks(bright, nuclei):
    colours = np.stack([nuclei, nuclei // 2, nuclei // 4], axis=-1)
    movie = np.stack([colours, colours[::-1]])
    whole = tessera.segment("unet", movie, axes="TYXC", model=bright)
    blocks = tessera.segment("unet", movie, axes="TYXC", model=bright, blocks=64)
    assert agreement(whole.labels, blocks.labels) >= 0.99
    assert set(blocks.table["t"].tolist()) == {0, 1}


def test_zarr_to_zarr(bright, nuclei, tmp_path):
    whole = tessera.segment("unet", nuclei, model=bright).labels
    stored = zarr.create_array(tmp_path / "image.zarr", data=nuclei, chunks=(64, 64))
    result = tessera.segment("unet", stored, axes="YX", model=bright, blocks=64, out=tmp_path / "labels.zarr")
    assert agreement(whole, zarr.open_array(tmp_path / "labels.zarr")[:]) >= 0.99
    assert len(result.table["label"]) == zarr.open_array(tmp_path / "labels.zarr")[:].max()


def test_a_large_image_in_memory_is_run_in_blocks_by_itself(bright, nuclei, monkeypatch):
    assert api.bind("unet", nuclei, model=bright).blocks is None
    monkeypatch.setattr(unet_blocks, "LARGEST_WHOLE_PX", {2: 1000, 3: 1000})
    assert api.bind("unet", nuclei, model=bright).blocks.size == unet_blocks.BLOCK_PX[2]
    assert api.bind("unet", nuclei, model=bright, blocks=False).blocks is None
    whole = tessera.segment("unet", nuclei, model=bright, blocks=False).labels
    np.testing.assert_array_equal(tessera.unet(nuclei, model=bright), whole)


def test_magnified_blocks_are_cut_in_parts_with_the_same_labels(sized, nuclei, monkeypatch):
    options = {"model": sized, "diameter": 8, "blocks": 128}
    blocks = tessera.segment("unet", nuclei, **options).labels
    monkeypatch.setattr(network_blocks, "LARGEST_PART_PX", {2: 30_000, 3: 30_000})
    assert max(BlockMargins(network_grid((128, 128), 2.0), 26, 2).parts((128, 128))) > 1
    assert agreement(blocks, tessera.segment("unet", nuclei, **options).labels) >= 0.99


@pytest.mark.parametrize("factor", [0.37, 0.5, 1.0, 4 / 3, 2.6])
@pytest.mark.parametrize("step", [1, 4, 16])
def test_what_a_network_sees_of_a_block_is_what_it_sees_there_of_the_whole(factor, step):
    image = np.random.default_rng(0).random((1, 120, 90), dtype=np.float32)
    whole = network_grid((120, 90), factor)
    seen = read_window(partial(cut, image), whole, [(0, side) for side in whole.size])
    margins = BlockMargins(whole, 10, step)
    for tile in tiles((120, 90), (40, 50), margins.margins):
        read, grid = margins.aligned(tile).read, margins.over(tile)
        block = image[(slice(None), *read)]
        of_block = read_window(partial(cut, block), grid, [(0, side) for side in grid.size])
        first = [
            round((along.start + origin) / scale)
            for along, origin, scale in zip(read, grid.origin, whole.scale, strict=True)
        ]
        assert all(each % step == 0 for each in first)
        there = tuple(slice(each, each + side) for each, side in zip(first, grid.size, strict=True))
        np.testing.assert_allclose(of_block, seen[(slice(None), *there)], atol=1e-6)
        for axis in (0, 1):
            places = whole.own_places(axis)[read[axis]] - first[axis]
            np.testing.assert_allclose(grid.own_places(axis), places, atol=1e-9)
            inside = places[tile.inner[axis]]
            assert inside.min() > -0.5 - 1e-9
            assert inside.max() < grid.size[axis] - 0.5 + 1e-9


def cut(image, window):
    return image[(slice(None), *window)]


def test_objects_that_were_not_magnified_for_the_size_of_the_image_are_told(monkeypatch, tmp_path, nuclei):
    model = str(save_bright(tmp_path / "small.safetensors", size=math.log(0.5), diameter_px=16.0))
    settings = {"model": model, "min_size": 0}
    for blocks in (False, 64):
        told = tessera.segment("unet", nuclei, blocks=blocks, **settings).notes
        assert not any("not magnified" in note for note in told)
    monkeypatch.setattr(scale, "MOST_PX", 10_000)
    monkeypatch.setattr(scale, "DISAGREEMENT", math.inf)
    told = tessera.segment("unet", nuclei, blocks=False, **settings).notes
    assert any("not magnified any further" in note for note in told)
    told = tessera.segment("unet", nuclei, blocks=False, diameter=8, **settings).notes
    assert not any("not magnified" in note for note in told)
    told = tessera.segment("unet", nuclei, blocks=64, **settings).notes
    assert not any("not magnified" in note for note in told)


def test_probabilities_in_blocks_are_refused_with_advice(bright, nuclei):
    with pytest.raises(InputError, match="in one piece"):
        tessera.segment("unet", nuclei, model=bright, output="probabilities", blocks=64)


def test_wrong_diameter_in_blocks_names_the_parameter(bright, nuclei):
    with pytest.raises(ParameterError, match="`diameter`"):
        tessera.segment("unet", nuclei, model=bright, diameter=20, blocks=64)


def test_record_of_blocks_replays(bright, nuclei):
    result = tessera.segment("unet", da.from_array(nuclei, chunks=64), model=bright, blocks=64)
    np.testing.assert_array_equal(tessera.run(result.provenance, nuclei).labels, result.labels)


def test_a_record_of_a_large_image_segmented_whole_replays_whole(bright, nuclei, monkeypatch):
    monkeypatch.setattr(unet_blocks, "LARGEST_WHOLE_PX", {2: 1000, 3: 1000})
    whole = tessera.segment("unet", nuclei, model=bright, blocks=False)
    again = tessera.run(whole.provenance, nuclei)
    assert again.provenance.get("blocks") is None
    larger = tessera.run(whole.provenance, np.pad(nuclei, 1))
    assert larger.provenance["blocks"]["size"] == list(unet_blocks.BLOCK_PX[2])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_percentiles_of_a_histogram_are_those_of_the_values(dtype):
    values = np.random.default_rng(0).integers(0, 120, (37, 41)).astype(dtype)
    percents = (0.5, 50, 99.8)
    np.testing.assert_allclose(percentiles(measure_block(values, None), percents), np.percentile(values, percents))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint64])
def test_percentiles_are_fine_although_a_pixel_lies_far_out(dtype):
    values = np.random.default_rng(0).integers(100, 5000, (60, 70)).astype(dtype)
    values[3, 4] = 10**9
    measure = None
    for _ in range(rounds(values)):
        measure = counted(values, measure)
    percents = (0.5, 50, 99.8)
    np.testing.assert_allclose(percentiles(measure, percents), np.percentile(values, percents), atol=1)


def test_percentiles_of_a_constant_image():
    for values in (np.full((3, 3), 7, np.uint8), np.full((3, 3), 7.0)):
        measure = None
        for _ in range(rounds(values)):
            measure = counted(values, measure)
        assert percentiles(measure, (0.5, 99.8)) == [7, 7]


def test_a_dask_scheduler_gives_the_same_labels(bright, nuclei, tmp_path):
    import distributed

    here = tessera.segment("unet", nuclei, model=bright, blocks=100).labels
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster:
        options = {"blocks": 100, "scheduler": cluster.scheduler_address, "out": tmp_path / "labels.zarr"}
        tessera.segment("unet", nuclei, model=bright, **options)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "labels.zarr")[:], here)


def test_closing_a_run_ends_it_at_its_next_step(bright, nuclei):
    running = api.job(api.bind("unet", nuclei, model=bright, blocks=32))
    while next(running).text != "Labelling blocks":
        pass
    running.close()
    with pytest.raises(StopIteration):
        next(running)


@pytest.mark.parametrize("blocks", [1, 31, (32, 16)])
def test_blocks_too_small_to_be_worth_their_surroundings_are_refused(bright, nuclei, blocks):
    with pytest.raises(InputError, match=r"The smallest is 32 × 32 px"):
        api.bind("unet", nuclei, model=bright, blocks=blocks)
