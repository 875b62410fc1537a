"""Names that no file can have, and links that lead nowhere, are refused with a sentence."""

import os

import numpy as np
import pytest

from napari_tessera.cli.main import main
from napari_tessera.core.errors import ModelError
from napari_tessera.io.annotation_store import PaintCopy, read_blocks, saved_annotations
from napari_tessera.models.registry import find

TOO_LONG = "x" * 300


@pytest.fixture
def image(tmp_path, monkeypatch):
    """The name of an image in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((4, 4), np.uint8))
    return "a.npy"


@pytest.mark.parametrize(
    "words",
    [
        ["threshold", "a.npy", "-o", f"{TOO_LONG}.tif"],
        ["threshold", f"{TOO_LONG}.tif", "-o", "out.tif"],
        ["threshold", f"{TOO_LONG}*.tif", "-o", "out.tif"],
        ["refine", "a.npy", "--image", TOO_LONG, "-o", "out.tif"],
        ["evaluate", TOO_LONG, "a.npy"],
        ["evaluate", "--task", "panoptic", TOO_LONG, "a.npy"],
        ["train", TOO_LONG, "a.npy", "-o", "m.safetensors"],
        ["train", "a.npy", "a.npy", "-o", f"{TOO_LONG}.safetensors"],
        ["models", "show", f"{TOO_LONG}.safetensors"],
        ["models", "import", f"{TOO_LONG}.safetensors"],
        ["run", f"{TOO_LONG}.json", "a.npy", "-o", "out.tif"],
    ],
    ids=" ".join,
)
def test_a_name_too_long_for_the_system_is_refused(image, words, capsys):
    assert main(words) in (1, 2)
    assert "tessera" in capsys.readouterr().err
    assert os.listdir() == [image]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_model_that_is_a_link_to_itself_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    path.symlink_to(path.name)
    with pytest.raises(ModelError, match=r"a\.safetensors"):
        find(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_place_of_saved_paint_is_damaged_paint(tmp_path):
    copy = PaintCopy(tmp_path / "one", (4, 4))
    copy.update((0, 0), np.ones((4, 4), np.uint8))
    copy.save_state({"name": "a", "image": "a", "dtype": "uint8"}, has_changed=True)
    copy.close()
    (block,) = (tmp_path / "one").glob("*.npz")
    block.unlink()
    os.mkfifo(block)
    ((_, found),) = read_blocks(saved_annotations(tmp_path)[0])
    assert found is None
