"""A process made by fork works in blocks as its parent did before."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.io import read_image
from napari_tessera.io.read import load
from tests.helpers.scenes import blobs

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
PATIENCE_S = 60


def in_fork(work, *arguments):
    """Do the work in a child process made by fork, and return the outcome."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sending.send(work(*arguments)))
    child.start()
    try:
        assert receiving.poll(PATIENCE_S), "the child hangs"
        return receiving.recv()
    finally:
        child.kill()
        child.join()


def labels_in_blocks(method, image):
    return tessera.segment(method, image, blocks=10, n_workers=2).labels


@pytest.mark.parametrize("method", ["threshold", "watershed"])
@pytest.mark.parametrize("form", [np.asarray, da.from_array])
def test_child_works_in_blocks_as_its_parent_did(method, form):
    image = form(blobs())
    here = labels_in_blocks(method, image)
    np.testing.assert_array_equal(in_fork(labels_in_blocks, method, image), here)


def test_child_reads_a_zarr_that_its_parent_read(tmp_path):
    da.from_array(blobs()).to_zarr(tmp_path / "image.zarr")

    def pixels(path: Path) -> np.ndarray:
        return load(read_image(path)).data

    here = pixels(tmp_path / "image.zarr")
    np.testing.assert_array_equal(in_fork(pixels, tmp_path / "image.zarr"), here)
