"""An image in blocks gets the labels it gets in one piece."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from scipy import ndimage

import napari_tessera as tessera
from napari_tessera.core.errors import FileError, InputError, ParameterError
from napari_tessera.engine import api


def noise(shape, seed=0):
    """Smooth random blobs, many of them cut by any grid."""
    rough = np.random.default_rng(seed).random(shape)
    smooth = ndimage.gaussian_filter(rough, 1.5)
    return (1000 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint16)


def in_one_piece(image, **options):
    return tessera.segment("threshold", image, **options)


@pytest.mark.parametrize("method", ["otsu", "li", "triangle", "multi-otsu", "hysteresis", "sauvola", "local-median"])
@pytest.mark.parametrize("output", ["classes", "objects"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_threshold_is_the_same_in_blocks(method, output, dtype):
    options = {"method": method, "output": output, "sigma": 1.0}
    options |= {"radius": 4} if method in ("sauvola", "local-median") else {}
    image = noise((37, 53)).astype(dtype)
    whole = in_one_piece(image, **options)
    blocks = in_one_piece(image, blocks=(11, 17), **options)
    np.testing.assert_array_equal(blocks.labels, whole.labels)
    for name, column in whole.table.items():
        np.testing.assert_array_equal(blocks.table[name], column)


@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_objects_that_touch_at_corners_of_blocks_are_joined_in_3d(connectivity):
    image = noise((13, 17, 19), seed=3)
    options = {"output": "objects", "connectivity": connectivity, "min_size": 5, "spacing": (2, 1, 1)}
    whole = in_one_piece(image, **options).labels
    np.testing.assert_array_equal(in_one_piece(image, blocks=(5, 6, 4), **options).labels, whole)


@pytest.mark.parametrize("features", ["channels", "intensity", "cielab"])
def test_kmeans_is_the_same_in_blocks(features):
    image = np.stack([noise((30, 41), seed) // 4 for seed in range(3)], axis=-1).astype(np.uint8)
    options = {"axes": "YXC", "n_clusters": 3, "features": features}
    whole = tessera.segment("kmeans", image, **options).labels
    np.testing.assert_array_equal(tessera.segment("kmeans", image, blocks=16, **options).labels, whole)


def test_watershed_in_blocks_finds_the_same_objects():
    image = noise((150, 170), seed=1)
    whole = tessera.segment("watershed", image).labels
    blocks = tessera.segment("watershed", image, blocks=64).labels
    scores = tessera.evaluate(whole, blocks)
    assert scores["ap"]["0.50"] >= 0.99


def test_dask_and_zarr_images_and_zarr_output(tmp_path):
    image = noise((2, 40, 50))
    whole = in_one_piece(image, axes="TYX", output="objects")
    stored = zarr.create_array(tmp_path / "image.zarr", data=image, chunks=(1, 16, 16))
    for number, same in enumerate((da.from_array(image, chunks=(1, 20, 20)), stored)):
        out = tmp_path / f"{number}.zarr"
        result = in_one_piece(same, axes="TYX", output="objects", blocks=16, out=out)
        np.testing.assert_array_equal(zarr.open_array(out)[:], whole.labels)
        np.testing.assert_array_equal(result.table["t"], whole.table["t"])


def test_record_of_a_run_in_blocks_replays():
    image = noise((40, 50))
    result = tessera.segment("watershed", image, blocks=32)
    np.testing.assert_array_equal(tessera.run(result.provenance, image).labels, result.labels)


def test_any_number_of_workers_gives_the_same_labels():
    image = noise((60, 60))
    one, three = (tessera.segment("watershed", image, blocks=32, n_workers=count).labels for count in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_a_dask_scheduler_gives_the_same_labels(tmp_path):
    import distributed

    image = noise((40, 50))
    whole = in_one_piece(image, output="objects").labels
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        out = tmp_path / "labels.zarr"
        in_one_piece(image, output="objects", blocks=20, scheduler=cluster.scheduler_address, out=out)
    np.testing.assert_array_equal(zarr.open_array(out)[:], whole)


def test_existing_output_is_not_overwritten(tmp_path):
    in_one_piece(noise((8, 8)), out=tmp_path / "labels.zarr")
    with pytest.raises(FileError, match="new folder"):
        in_one_piece(noise((8, 8)), out=tmp_path / "labels.zarr")


@pytest.fixture
def full_folder(tmp_path):
    """A folder that holds a file of the user's."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("weeks of work")
    return folder


def test_output_is_never_a_folder_that_holds_something(full_folder):
    with pytest.raises(FileError, match="which exists already and is not overwritten"):
        in_one_piece(noise((8, 8)), blocks=4, out=full_folder)
    assert [path.name for path in full_folder.iterdir()] == ["notes.txt"]


def test_output_inside_a_zarr_array_is_refused(tmp_path):
    zarr.create_array(tmp_path / "image.zarr", data=np.eye(32))
    with pytest.raises(FileError, match="inside a Zarr array"):
        tessera.segment("threshold", np.eye(32), blocks=16, out=tmp_path / "image.zarr" / "labels")


def test_output_with_a_zero_character_is_refused():
    with pytest.raises(FileError, match="a path cannot contain the character"):
        tessera.segment("threshold", np.eye(32), blocks=16, out="x\0y")


def test_wrong_setting_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ParameterError):
        in_one_piece(noise((8, 8)), blocks=4, out=tmp_path / "labels", sigma=-1)
    assert not list(tmp_path.iterdir())


def test_output_may_be_an_empty_folder(tmp_path):
    out = tmp_path / "empty"
    out.mkdir()
    labels = in_one_piece(noise((8, 8)), blocks=4, out=out).labels
    np.testing.assert_array_equal(zarr.open_array(out)[:], labels[:])


@pytest.mark.parametrize("is_there", [True, False])
def test_run_that_is_cancelled_leaves_the_output_as_it_was(tmp_path, is_there):
    out = tmp_path / "labels"
    if is_there:
        out.mkdir()
    job = api.job(api.bind("threshold", noise((40, 40)), blocks=10, out=out))
    while next(job).fraction < 0.5:
        pass
    job.close()
    assert out.exists() == is_there
    assert sum(1 for _ in tmp_path.rglob("*")) == is_there


def test_folder_made_for_the_output_is_removed_with_it(tmp_path):
    job = api.job(api.bind("threshold", noise((40, 40)), blocks=10, out=tmp_path / "new" / "labels"))
    while next(job).fraction < 0.5:
        pass
    assert (tmp_path / "new").exists()
    job.close()
    assert not (tmp_path / "new").exists()


def test_method_that_needs_the_whole_image_says_so():
    with pytest.raises(InputError, match="whole image"):
        tessera.segment("region_growing", noise((9, 9)), seeds=[[4, 4]], blocks=4)


@pytest.mark.parametrize("blocks", [0, (3,), (3, 4, 5), -1, 2.5])
def test_blocks_of_no_size_are_refused(blocks):
    with pytest.raises(InputError, match="`blocks` is"):
        in_one_piece(noise((9, 9)), blocks=blocks)


def test_an_infinite_pixel_in_a_block_is_no_image():
    image = noise((20, 20)).astype(np.float32)
    image[13, 13] = np.inf
    found = in_one_piece(da.from_array(image, chunks=10), blocks=10)
    with_nan = in_one_piece(np.where(np.isinf(image), np.nan, image), blocks=10)
    np.testing.assert_array_equal(found.labels, with_nan.labels)
    assert "NaN or infinite" in found.notes[0]
