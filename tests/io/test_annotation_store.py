"""Paint on the disk: blocks of their own, each whole; what is damaged is left out, and nothing is unpickled."""

import json
import time

import numpy as np
import pytest

from napari_tessera.core.errors import FileError
from napari_tessera.core.sparse_array import BLOCK_PX
from napari_tessera.io.annotation_store import (
    DAYS_KEPT,
    LOCK,
    STATE,
    PaintCopy,
    block_sides,
    discard_old,
    read_blocks,
    saved_annotations,
)

SHAPE = (2, BLOCK_PX + 4, BLOCK_PX + 6)
SAID = {"name": "cells · annotation", "image": "cells", "dtype": "uint8"}


def block(value, sides=(1, BLOCK_PX, BLOCK_PX)):
    return np.full(sides, value, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Annotations, of which one was saved: its first block is 2, its last corner is 1."""
    copy = PaintCopy(tmp_path / "one", SHAPE)
    copy.update((0, 0, 0), block(2))
    copy.update((1, 1, 1), block(1, (1, 4, 6)))
    copy.save_state(SAID, has_changed=True)
    copy.close()
    return tmp_path


def read(folder):
    (saved,) = saved_annotations(folder)
    paint, damaged = np.zeros(SHAPE, np.uint8), 0
    for window, found in read_blocks(saved):
        damaged += found is None
        paint[window] = 0 if found is None else found
    return paint, damaged


def test_what_was_saved_is_read(folder):
    expected = np.zeros(SHAPE, np.uint8)
    expected[0, :BLOCK_PX, :BLOCK_PX], expected[1, BLOCK_PX:, BLOCK_PX:] = 2, 1
    paint, damaged = read(folder)
    np.testing.assert_array_equal(paint, expected)
    assert damaged == 0


def test_painted_pixels_are_counted(folder):
    assert saved_annotations(folder)[0].painted_px == BLOCK_PX**2 + 4 * 6


def test_planes_are_saved_one_by_one():
    assert block_sides(4) == (1, 1, BLOCK_PX, BLOCK_PX)


def test_a_block_that_is_the_same_is_not_written(tmp_path):
    copy = PaintCopy(tmp_path / "one", SHAPE)
    assert [copy.update((0, 0, 0), block(value)) for value in (2, 2, 3, 0, 0)] == [True, False, True, True, False]
    assert copy.known() == []


def test_one_session_at_a_time_writes(tmp_path):
    first = PaintCopy(tmp_path / "one", SHAPE)
    with pytest.raises(FileError, match="Another window"):
        PaintCopy(tmp_path / "one", SHAPE)
    first.close()
    PaintCopy(tmp_path / "one", SHAPE).close()


def test_what_a_session_writes_to_is_not_listed(folder):
    copy = PaintCopy(folder / "one", SHAPE)
    assert saved_annotations(folder) == []
    copy.close()
    assert len(saved_annotations(folder)) == 1
    assert not (folder / "one" / LOCK).exists()


def test_what_was_saved_says_what_it_is(folder):
    (saved,) = saved_annotations(folder)
    assert (saved.name, saved.image, saved.has_ended) == ("cells · annotation", "cells", False)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b"", lambda _: b"PK"], ids=["cut", "flip", "empty", "start"])
def test_a_damaged_block_is_left_out(damage, folder):
    path = folder / "one" / "block-0-0-0.npz"
    path.write_bytes(damage(path.read_bytes()))
    paint, damaged = read(folder)
    assert damaged == 1
    assert paint[1].any()


@pytest.mark.parametrize("foreign", [np.zeros((9, 9), np.uint8), np.full((1, BLOCK_PX, BLOCK_PX), None)])
def test_what_is_no_block_is_left_out(foreign, folder):
    with (folder / "one" / "block-0-0-0.npz").open("wb") as file:
        np.savez(file, paint=foreign, allow_pickle=True)
    assert read(folder)[1] == 1


def test_a_file_half_written_is_no_block(folder):
    (folder / "one" / ".block-0-1-1.npz.ab12cd34.part").write_bytes(b"half")
    assert read(folder)[1] == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"format": 9}',
        b'{"format": 1, "shape": [3], "dtype": "uint8", "changed": 1, "painted_px": 1}',
        b'{"format": 1, "shape": [3, 4], "dtype": "object", "changed": 1, "painted_px": 1}',
        b'{"format": 1, "shape": [3, 4], "dtype": "uint8", "changed": 1e300, "painted_px": 1}',
    ],
)
def test_a_damaged_description_is_a_kind_sentence(content, folder):
    (folder / "one" / STATE).write_bytes(content)
    (saved,) = saved_annotations(folder)
    assert "cannot be read" in saved.problem
    assert (saved.painted_px, saved.has_ended) == (0, False)


def test_what_was_closed_is_discarded_after_a_month_and_what_was_lost_is_not(folder):
    path = folder / "one" / STATE
    said = json.loads(path.read_text()) | {"changed": time.time() - (DAYS_KEPT + 1) * 86400}
    for has_ended, count in ((False, 1), (True, 0)):
        path.write_text(json.dumps(said | {"has_ended": has_ended}))
        discard_old(folder)
        assert len(saved_annotations(folder)) == count
