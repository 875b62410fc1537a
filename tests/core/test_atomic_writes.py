"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from napari_tessera.core import atomic_writes as together
from napari_tessera.core.atomic_writes import check_free, write_whole, written_together
from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import check_exists
from napari_tessera.core.result import LabelImage, Result
from napari_tessera.core.spatial import Spatial
from napari_tessera.io.write import write_result


def test_a_place_where_not_even_deleting_is_possible_is_explained(tmp_path):
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(FileError, match="Nothing could be written"):
        write_whole(tmp_path / "file" / "model", b"content")


def small_result(value):
    """Return a result of one label image, all of it `value`, with a table."""
    data = np.full((2, 3), value, np.int32)
    table = {"label": np.array([value]), "num_pixels": np.array([6])}
    return Result((LabelImage("threshold", data, Spatial.plain("YX"), "objects", table),), {"value": value})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusing(function, name, error, folder=""):
    """Do as a function of the system, but for files of one name in a folder, as if another program had them open."""

    def do(source, target):
        if Path(source).name == name and Path(source).parent.name.endswith(folder):
            raise error(errno.EACCES, "It is open", str(source))
        function(source, target)

    return do


@pytest.mark.parametrize("name", ["cells.tif", "cells.json", "cells.csv"])
@pytest.mark.parametrize("folder", ["", "new"], ids=["an old file is open", "a new file is open"])
def test_with_one_file_open_elsewhere_all_old_files_stay(tmp_path, monkeypatch, name, folder):
    write_result(small_result(1), tmp_path / "cells.tif")
    before = contents(tmp_path)
    for function in ("rename", "link"):
        monkeypatch.setattr(os, function, refusing(getattr(os, function), name, PermissionError, folder))
    with pytest.raises(FileError, match=rf"{name} cannot be replaced: another program may have it open"):
        write_result(small_result(2), tmp_path / "cells.tif", overwrite=True)
    assert contents(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["cells.csv", "cells.json", "cells.tif"]


def test_what_cannot_be_put_back_at_once_is_put_back_by_the_next_run(tmp_path):
    write_result(small_result(1), tmp_path / "cells.tif")
    before = contents(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        for function in ("rename", "link"):
            patch.setattr(os, function, refusing(getattr(os, function), "cells.csv", PermissionError, "new"))
        patch.setattr(os, "rename", refusing(os.rename, "cells.json", PermissionError, "old"))
        with pytest.raises(FileError, match="could not be put back as it was"):
            write_result(small_result(2), tmp_path / "cells.tif", overwrite=True)
    write_whole(tmp_path / "other", b"")
    assert contents(tmp_path) == {**before, "other": b""}


def test_on_a_full_disk_nothing_is_written(tmp_path, monkeypatch):
    write_result(small_result(1), tmp_path / "cells.tif")
    before = contents(tmp_path)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="is full"):
        write_result(small_result(2), tmp_path / "cells.tif", overwrite=True)
    assert contents(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["cells.csv", "cells.json", "cells.tif"]


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with pytest.raises(FileError, match="PNG holds numbers up to"):
        write_result(small_result(70_000), tmp_path / "new" / "folder" / "cells.png")
    assert not (tmp_path / "new").exists()


def test_where_a_file_has_one_name_only_it_is_moved(tmp_path, monkeypatch):
    def no_links(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_result(small_result(1), tmp_path / "cells.tif")
    assert sorted(os.listdir(tmp_path)) == ["cells.csv", "cells.json", "cells.tif"]
    with pytest.raises(FileError, match="exists already"):
        write_result(small_result(2), tmp_path / "cells.tif")


def write_both(folder):
    with written_together([folder / "one", folder / "two"], overwrite=True) as parts:
        for part in parts:
            part.write_text("new")


def killed_between_moves(folder):
    """Leave what a run leaves that was killed when it had moved in the first of two new files."""
    for name in ("one", "two"):
        (folder / name).write_text("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "_move_to_free_name", refusing(together._move_to_free_name, "two", KeyboardInterrupt))
        patch.setattr(together, "_undo", lambda work: None)
        with pytest.raises(KeyboardInterrupt):
            write_both(folder)
    assert (folder / "one").read_text() == "new"
    assert not (folder / "two").exists()


def test_the_next_run_undoes_what_one_left_that_was_killed_between_two_moves(tmp_path):
    killed_between_moves(tmp_path)
    write_whole(tmp_path / "three", b"3")
    assert contents(tmp_path) == {"one": b"old", "two": b"old", "three": b"3"}


def test_what_another_program_wrote_since_a_kill_is_kept(tmp_path):
    killed_between_moves(tmp_path)
    (tmp_path / "one").write_text("written by hand")
    write_whole(tmp_path / "three", b"3")
    assert contents(tmp_path) == {"one": b"written by hand", "two": b"old", "three": b"3"}


def test_a_file_that_is_missing_after_a_kill_is_put_back_when_it_is_read(tmp_path):
    killed_between_moves(tmp_path)
    assert check_exists(tmp_path / "two").read_text() == "old"


@pytest.mark.parametrize("name", ["../precious", "/{folder}/precious", "link/precious"])
def test_a_note_of_moves_that_leads_out_of_its_folder_moves_nothing(tmp_path, name):
    (tmp_path / "precious").write_text("mine")
    folder = tmp_path / "of_a_stranger"
    work = folder / ".tessera" / "0a1b2c3d"
    (work / "new").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    note = {"moves": {name.format(folder=tmp_path): None}, "folders": []}
    (work / "moves.json").write_text(json.dumps(note))
    write_whole(folder / "one", b"1")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"[" * 100_000, b'{"moves": 3}'])
def test_a_damaged_note_of_moves_keeps_no_run_from_writing(tmp_path, note):
    work = tmp_path / ".tessera" / "0a1b2c3d"
    work.mkdir(parents=True)
    (work / "moves.json").write_bytes(note)
    write_whole(tmp_path / "one", b"1")
    assert (tmp_path / "one").read_bytes() == b"1"


def test_what_lies_in_a_hidden_folder_of_the_same_name_is_not_ours_to_delete(tmp_path):
    (tmp_path / ".tessera" / "notes").mkdir(parents=True)
    (tmp_path / ".tessera" / "notes" / "diary.txt").write_text("mine")
    write_whole(tmp_path / "one", b"1")
    assert (tmp_path / ".tessera" / "notes" / "diary.txt").read_text() == "mine"


def test_a_hidden_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere" / "0a1b2c3d").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".tessera").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="is a link"):
        write_whole(tmp_path / "here" / "one", b"1")
    assert (tmp_path / "elsewhere" / "0a1b2c3d").is_dir()


def test_what_a_run_at_work_has_written_so_far_is_left_alone(tmp_path):
    with written_together([tmp_path / "one"]) as (part,):
        part.write_text("1")
        write_whole(tmp_path / "two", b"2")
        assert part.read_text() == "1"
    assert contents(tmp_path) == {"one": b"1", "two": b"2"}


@pytest.mark.parametrize("name", ["image.tif", "folder/../image.tif", "link.tif", "other.tif"])
def test_a_file_that_was_read_is_not_written_over_whatever_its_name(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "image.tif").write_text("image")
    (tmp_path / "link.tif").symlink_to(tmp_path / "image.tif")
    os.link(tmp_path / "image.tif", tmp_path / "other.tif")  # as a name in other letters, where case does not count
    with pytest.raises(FileError, match="was read as input"):
        check_free([tmp_path / name], overwrite=True, inputs=[tmp_path / "image.tif"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="a pipe or a device"):
        check_free([tmp_path / "pipe"], overwrite=True)


def test_a_link_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileError, match="is a link"):
        check_free([tmp_path / "link"], overwrite=True)


def test_one_file_is_written_to_where_a_link_leads(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
