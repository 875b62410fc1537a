"""On the workers of a cluster, which share no memory with this process, labels are those of a run without it."""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from dataclasses import dataclass

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from distributed import KilledWorker, LocalCluster

import napari_tessera as tessera
from napari_tessera.cli import main as cli
from napari_tessera.core.errors import FileError, ModelError, ParameterError, RunError
from napari_tessera.core.jobs import run_job
from napari_tessera.engine import api, cluster
from napari_tessera.engine import dask_pool as chunked
from napari_tessera.engine.cluster import _explained, _work, packed, unpacked
from napari_tessera.io import read_image
from napari_tessera.io import tiff as tiff_reader
from napari_tessera.methods.mask_rcnn import label_block
from napari_tessera.models import registry as catalogue
from tests.helpers.cluster_runs import CASES, INPUTS, OUTPUTS, PLANE, Killer, Workers, labels_of, stored_as

BY_NAME = {case.name: case for case in CASES}
FORMS = [("TIFF", "memory"), ("zarr", "TIFF"), ("array", "zarr")]
OBJECTS = BY_NAME["threshold, objects"]


@pytest.fixture(scope="module")
def workers():
    """Two worker processes."""
    with Workers() as started:
        yield started


def check(case, source, into, folder, workers, on_progress=None):
    image = stored_as(source, case, folder)
    here = labels_of(case, image, into, folder)
    there = labels_of(case, image, into, folder, on_progress, scheduler=workers.address)
    assert here.any()
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("into", OUTPUTS)
@pytest.mark.parametrize("source", INPUTS)
def test_every_form_of_image_and_labels(source, into, workers, tmp_path):
    check(OBJECTS, source, into, tmp_path, workers)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != OBJECTS.name])
def test_every_method(name, workers, tmp_path):
    source, into = FORMS[list(BY_NAME).index(name) % len(FORMS)]
    check(BY_NAME[name], source, into, tmp_path, workers)


def test_table_and_notes_are_those_of_a_run_here(workers):
    here, there = (tessera.segment("threshold", PLANE, output="objects", blocks=32, **options)
                   for options in ({}, {"scheduler": workers.address}))  # fmt: skip
    assert there.notes == here.notes
    assert list(there.table) == list(here.table)
    for name, column in here.table.items():
        np.testing.assert_array_equal(there.table[name], column)


def test_tiff_read_piece_by_piece_is_opened_by_the_workers(workers, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "image.tif", PLANE, tile=(32, 32))
    monkeypatch.setattr(tiff_reader, "LAZY_FROM_BYTES", 0)
    image = read_image(tmp_path / "image.tif").data
    here = tessera.segment("threshold", PLANE, blocks=32).labels
    there = tessera.segment("threshold", image, blocks=32, scheduler=workers.address).labels
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("ending", ["tif", "ome.zarr"])
@pytest.mark.parametrize("form", ["tif", "zarr"])
def test_command_line(form, ending, workers, tmp_path, capsys):
    image = stored_as("TIFF" if form == "tif" else "zarr", OBJECTS, tmp_path)
    here, there = tmp_path / f"here.{ending}", tmp_path / f"there.{ending}"
    assert cli.main(["threshold", str(image), "-o", str(here), "--output", "objects"]) == 0
    asked = ["--output", "objects", "--scheduler", workers.address]
    assert cli.main(["threshold", str(image), "-o", str(there), *asked]) == 0
    np.testing.assert_array_equal(read_image(there).data, read_image(here).data)


@pytest.mark.parametrize(("at", "into"), [("Labelling blocks", "memory"), ("Numbering objects", "zarr")])
def test_labels_are_the_same_if_a_worker_is_killed(at, into, workers, tmp_path):
    workers.start()  # anew, if one was killed before
    killer = Killer(workers, at)
    check(OBJECTS, "zarr", into, tmp_path, workers, killer)
    assert killer.killed


@dataclass(frozen=True)
class Twice(chunked.Threads):
    """Threads that do every task twice, as a cluster may where a worker is lost."""

    count: int = 2

    def run(self, task, arguments, text, receive=chunked.unchanged):
        """Return the outcomes of the second time."""
        outcomes = yield from super().run(task, [*arguments, *arguments], text, receive)
        return outcomes[len(arguments) :]


@pytest.mark.parametrize("name", ["threshold, objects", "threshold, classes", "watershed"])
def test_labels_in_a_folder_are_the_same_if_every_task_is_done_twice(name, tmp_path, monkeypatch):
    case = BY_NAME[name]
    here = labels_of(case, case.image, "memory", tmp_path)

    @contextmanager
    def twice(*_):
        yield Twice()

    monkeypatch.setattr(chunked, "pool", twice)
    np.testing.assert_array_equal(labels_of(case, case.image, "zarr", tmp_path), here)


def test_nothing_but_the_labels_is_left_in_the_folder(tmp_path):
    tessera.segment("threshold", PLANE, output="objects", blocks=32, out=tmp_path / "labels")
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["c", "zarr.json"]


def test_part_of_an_array_in_memory_is_sent_alone():
    image = np.random.default_rng(0).integers(0, 255, (1000, 1000), np.uint8)
    for array in (image, da.from_array(image), da.from_array(zarr.array(image))):
        sent = packed(array[:10, :10])
        assert len(sent) < 2000
        np.testing.assert_array_equal(chunked.read(unpacked(sent)), image[:10, :10])


def test_array_in_a_folder_is_sent_as_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 255, (1000, 1000), np.uint8)
    stored = zarr.create_array("image.zarr", data=image, chunks=(100, 100))
    sent = packed(da.from_zarr(stored)[50:]), packed(stored)
    monkeypatch.chdir("/")
    for each, same in zip(sent, (image[50:], image), strict=True):
        assert len(each) < image.nbytes / 20
        np.testing.assert_array_equal(chunked.read(unpacked(each)), same)


def test_array_that_a_worker_does_not_find_is_not_taken_for_an_empty_one(tmp_path):
    stored = zarr.create_array(tmp_path / "image.zarr", data=PLANE)
    sent = packed((chunked.read, (da.from_zarr(stored),)))
    (tmp_path / "image.zarr").rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(FileError, match=r"The worker on .* cannot find .*image\.zarr"):
        _work(sent)


def test_folder_that_was_removed_is_not_made_anew(tmp_path):
    running = api.job(api.bind("threshold", PLANE, output="classes", blocks=32, out=tmp_path / "labels"))
    next(step for step in running if step.text == "Measuring blocks")
    (hidden,) = tmp_path.iterdir()
    hidden.rename(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="was removed during the run"):
        run_job(running)
    assert not hidden.exists()


def test_error_of_a_task_names_its_parameter(workers):
    with pytest.raises(ParameterError, match="`low` is 3") as raised:
        tessera.segment("threshold", PLANE, method="hysteresis", low=3, high=1, blocks=32, scheduler=workers.address)
    assert raised.value.parameter == "low"
    assert pickle.loads(pickle.dumps(raised.value)).parameter == "low"


def test_blocks_that_cost_workers_their_life_are_explained():
    error = _explained(KilledWorker("work-1", None, 3))
    assert isinstance(error, RunError)
    assert "4 workers ended while they processed the same block" in str(error)


def test_block_is_not_judged_without_the_second_network_that_the_run_has():
    settings = {"channel_axis": None, "channel": None, "spacing": (1.0, 1.0), "device": "cpu"}
    entry = catalogue.find("nuclei-mask-rcnn")
    job = label_block(PLANE, entry=entry, levels=None, grid=None, has_second=False, **settings)
    with pytest.raises(ModelError, match="second opinion is not on all computers"):
        run_job(job)


def test_run_without_workers_ends_in_words(monkeypatch):
    monkeypatch.setattr(cluster, "LONGEST_WITHOUT_WORKERS_S", 0.5)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(RunError, match="has had no worker for"),
    ):
        tessera.segment("threshold", PLANE, blocks=32, scheduler=empty.scheduler_address)


def test_run_ends_in_words_if_the_scheduler_is_gone(tmp_path):
    with LocalCluster(n_workers=0, dashboard_address=":0") as gone:
        running = api.job(api.bind("threshold", PLANE, blocks=32, scheduler=gone.scheduler_address))
        next(step for step in running if step.text == "Waiting for workers")
        gone.close()
        with pytest.raises(RunError, match="no longer answers"):
            run_job(running)


@pytest.mark.parametrize("method", ["region_growing", "panoptic", "refine", "compare"])
def test_method_that_needs_the_whole_image_refuses_a_scheduler(method):
    with pytest.raises(tessera.TesseraError, match="needs the whole image"):
        api.bind(method, PLANE, scheduler="tcp://127.0.0.1:1")
