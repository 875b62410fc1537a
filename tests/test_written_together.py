"""Files that are written whole or not at all."""

from __future__ import annotations

import pytest

from napari_tessera.errors import FileError
from napari_tessera.io.together import write_whole


def test_a_place_where_not_even_deleting_is_possible_is_explained(tmp_path):
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(FileError, match="Nothing could be written"):
        write_whole(tmp_path / "file" / "model", b"content")
