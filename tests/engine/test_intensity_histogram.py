"""The histogram of what Threshold compares with its level."""

import dask.array as da
import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.core.region import Region
from napari_tessera.engine import api
from napari_tessera.engine import intensity_histogram as module
from napari_tessera.engine.intensity_histogram import HistogramCache, HistogramRequest, intensity_histogram
from napari_tessera.methods.registry import method_named
from tests.helpers.scenes import blobs


def histogram(image, axes="YX", frame=None, region=None, cache=None, **changed):
    values = {**method_named("threshold").declaration.defaults, **changed}
    request = HistogramRequest("threshold", image, axes, frame or {}, values, None, region)
    return run_job(intensity_histogram(request, cache or HistogramCache()))


def level_of_run(image, **settings):
    return api.segment("threshold", image, **settings).provenance["chosen"]["levels"]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"method": "li"}, {"method": "multi-otsu"}, {"sigma": 1.0}], ids=str)
def test_levels_are_those_of_a_run(ndim, settings):
    found = histogram(blobs(ndim), "ZYX"[-ndim:], **settings)
    assert list(found.levels) == level_of_run(blobs(ndim), **settings)


def test_each_value_is_counted():
    found = histogram(np.array([[3, 3, 5], [3, 9, 5]], np.uint16))
    assert found.counts.tolist() == [3, 2, 0, 1]
    assert (found.low, found.step, found.is_whole_numbers, found.is_sample) == (3, 2, True, False)


def test_levels_of_a_channel_are_those_of_that_channel_alone():
    rgb = np.stack([blobs() // 4, blobs(), blobs() // 2], axis=-1)
    assert histogram(rgb, "YXC", channel=2).levels == histogram(blobs() // 2).levels
    assert list(histogram(rgb, "YXC").levels) == level_of_run(rgb, axes="YXC")


def test_padding_and_nan_are_not_counted():
    image = np.random.default_rng(0).normal(500, 30, (50, 60)).astype(np.float32)
    framed = np.pad(image, 20)
    for outside in (0, np.nan):
        found = histogram(np.where(framed == 0, np.float32(outside), framed))
        assert found.counts.sum() == image.size
        assert found.levels == histogram(image).levels


def test_frame_of_a_film_is_counted_alone():
    film = np.stack([blobs(), blobs() // 4])
    assert histogram(film, "TYX", {"T": 1}).levels == histogram(blobs() // 4).levels


def test_only_the_region_is_counted():
    outline = np.array([[-0.5, -0.5], [-0.5, 10.6], [8.6, 10.6], [8.6, -0.5]])
    found = histogram(blobs(), region=Region({}, (outline,)))
    assert found.image_px == found.counts.sum() < blobs().size
    assert histogram(blobs(3), "ZYX", region=Region({"Z": 2})).image_px == blobs().size


def test_local_rule_has_no_level_and_a_constant_image_no_histogram():
    assert histogram(blobs(), method="local-mean").levels == ()
    assert histogram(np.full((5, 5), 7, np.uint8)) is None


def test_rule_without_a_level_says_why():
    found = histogram(np.array([[1, 2], [1, 2]], np.uint8), method="minimum")
    assert found.levels == ()
    assert "two peaks" in found.problem


def test_intensities_beyond_float32_are_in_their_own_unit():
    image = blobs().astype(np.int64) * 1000 + 10**12
    found = histogram(image, sigma=1.0)
    assert list(found.levels) == level_of_run(image, sigma=1.0)
    assert 10**12 + 8000 <= found.low <= 10**12 + 14_000


def test_lowest_intensity_at_the_level_gives_the_labels_of_the_rule():
    for image in (blobs(), blobs() / np.float32(255), blobs(dtype=np.int32) * 16):
        found = histogram(image)
        low = found.low_at(found.cut_of(found.levels[0]))
        np.testing.assert_array_equal(
            api.segment("threshold", image, method="manual", low=low).labels, api.segment("threshold", image).labels
        )


def test_highest_intensity_at_the_level_gives_the_labels_of_dark_objects():
    found = histogram(blobs(), polarity="dark")
    high = found.high_at(found.cut_of(found.levels[0]))
    np.testing.assert_array_equal(
        api.segment("threshold", blobs(), method="manual", high=high).labels,
        api.segment("threshold", blobs(), polarity="dark").labels,
    )


def test_large_image_is_sampled_all_over(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_WHOLE_PX", 1000)
    monkeypatch.setattr(module, "WINDOW_PX", {2: (4, 4)})
    image = np.add.outer(np.arange(100), np.arange(100)).astype(np.uint16)
    found = histogram(image)
    assert found.is_sample
    assert (found.sampled_px, found.image_px) == (64 * 16, 10_000)
    assert (found.low, found.high) == (0, 198)


def test_of_an_image_on_disk_some_chunks_are_read_once(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_WHOLE_PX", 1000)
    read = []

    def load(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.full((10, 10), len(read), np.uint16)

    stored = da.map_blocks(load, chunks=((10,) * 10, (10,) * 10), dtype=np.uint16, meta=np.empty((0, 0), np.uint16))
    found = histogram(stored)
    assert len(read) == len(set(read)) == module.CHUNKS
    assert (found.sampled_px, found.image_px) == (module.CHUNKS * 100, 10_000)


def test_another_rule_does_not_count_again(monkeypatch):
    image, cache, counted = blobs(), HistogramCache(), []
    real = module._counted
    monkeypatch.setattr(module, "_counted", lambda request: counted.append(1) or real(request))
    histogram(image, cache=cache)
    histogram(image, cache=cache, method="li")
    assert counted == [1]
    histogram(image, cache=cache, sigma=1.0)
    assert counted == [1, 1]


def test_rare_bright_pixels_are_beyond_the_part_that_is_shown():
    image = np.random.default_rng(0).permutation(np.arange(10_000, dtype=np.uint16) % 100).reshape(100, 100)
    image[0, 0] = 60_000
    found = histogram(image, method="mean")
    low, high = found.span()
    assert low == -0.5
    assert 99 < high < 200
    edges, counts = found.bars(low, high, 50)
    assert counts.sum() == image.size
    assert len(counts) <= 50
    assert edges[0] == low


def test_level_with_more_digits_selects_nearly_the_same_pixels():
    image = np.random.default_rng(0).normal(size=(300, 300))
    found = histogram(image)
    low = found.low_at(found.cut_of(found.levels[0]), module.LEVEL_DIGITS)
    by_hand, by_rule = (
        api.segment("threshold", image, **each).labels for each in ({"method": "manual", "low": low}, {})
    )
    assert (by_hand != by_rule).mean() < 1e-4


def test_whole_numbers_that_float64_cannot_tell_apart_have_no_histogram():
    assert histogram(blobs().astype(np.uint64) + np.uint64(2**63)) is None


@pytest.mark.parametrize("is_sampled", [False, True])
def test_levels_beside_padding_and_nan_are_those_of_a_run(monkeypatch, is_sampled):
    scene = np.random.default_rng(0).integers(500, 900, (96, 128)).astype(np.float32)
    padded = np.zeros((96, 160), np.float32)
    padded[:, 32:] = scene
    padded[10:20, 40:60] = np.nan
    if is_sampled:
        monkeypatch.setattr(module, "LARGEST_WHOLE_PX", 1000)
        monkeypatch.setattr(module, "WINDOW_PX", {2: (6, 10)})
    found = histogram(padded)
    assert found.low >= 500
    assert found.is_sample == is_sampled
    if not is_sampled:
        assert list(found.levels) == level_of_run(padded)


def test_padding_of_an_image_on_disk_is_not_counted(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_WHOLE_PX", 1000)
    padded = np.pad(np.random.default_rng(0).integers(500, 900, (100, 100), np.uint16), ((0, 0), (60, 0)))
    found = histogram(da.from_array(padded, chunks=20))
    assert found.low >= 500
    assert found.counts.sum() == found.sampled_px < module.CHUNKS * 400


def test_nothing_but_nan_has_no_histogram():
    assert histogram(np.full((40, 40), np.nan)) is None
