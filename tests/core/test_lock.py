"""A lock is held by one at a time, and by nobody who has ended."""

from __future__ import annotations

import pytest

from napari_tessera.core.atomic_writes import locked
from napari_tessera.core.errors import FileError


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    with locked(tmp_path / "lock", "first"):
        second = locked(tmp_path / "lock", "second")
        with pytest.raises(FileError, match="second"):
            second.__enter__()


def test_a_lock_can_be_had_again_and_leaves_no_file(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "lock", ""):
            assert (tmp_path / "lock").exists()
        assert not (tmp_path / "lock").exists()


def test_a_file_that_was_left_behind_is_no_lock(tmp_path):
    (tmp_path / "lock").touch()
    with locked(tmp_path / "lock", ""):
        pass
    assert not (tmp_path / "lock").exists()
