"""Folders for what is needed for a while; those of programs that were killed do not stay for ever."""

import os
import tempfile
import time

import pytest

from napari_tessera.core.file_checks import LEFT_AFTER_SECONDS, PREFIX, short_lived_folder


@pytest.fixture
def system_folder(tmp_path, monkeypatch):
    """The folder of the system in which all programs keep what is needed for a while."""
    folder = tmp_path / "system"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def make(folder, name, age_seconds):
    """Make a folder with a file, last changed so long ago."""
    (folder / name).mkdir()
    (folder / name / "model.safetensors").touch()
    os.utime(folder / name, (time.time() - age_seconds,) * 2)


def test_nothing_is_left_of_a_folder_that_is_no_longer_used(system_folder):
    with short_lived_folder() as folder:
        assert folder.parent == system_folder
        (folder / "model.safetensors").touch()
    assert list(system_folder.iterdir()) == []


def test_what_killed_programs_left_is_deleted_and_nothing_else(system_folder):
    old = LEFT_AFTER_SECONDS + 60
    make(system_folder, f"{PREFIX}killed", old)
    make(system_folder, f"{PREFIX}at work", 60)
    make(system_folder, "tessera-of the user", old)
    with short_lived_folder():
        pass
    assert sorted(path.name for path in system_folder.iterdir()) == [f"{PREFIX}at work", "tessera-of the user"]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a folder away")
def test_folders_of_other_users_stay(system_folder):
    make(system_folder, f"{PREFIX}other", LEFT_AFTER_SECONDS + 60)
    os.chown(system_folder / f"{PREFIX}other", 65534, -1)
    with short_lived_folder():
        pass
    assert (system_folder / f"{PREFIX}other").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows lets not everybody make links")
def test_a_link_is_not_followed(system_folder, tmp_path):
    make(tmp_path, "kept", LEFT_AFTER_SECONDS + 60)
    (system_folder / f"{PREFIX}link").symlink_to(tmp_path / "kept")
    with short_lived_folder():
        pass
    assert (tmp_path / "kept" / "model.safetensors").exists()
