"""Label pictures in colour: their colours become numbers if wanted."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_tessera.cli.main import main
from napari_tessera.core.errors import FileError
from napari_tessera.io import read_labels

NUMBERS = np.array([[0, 2, 2, 0], [0, 2, 0, 1], [3, 0, 0, 1]])
IN_ORDER = [[0, 1, 1, 0], [0, 1, 0, 2], [3, 0, 0, 2]]
ON_BLACK = np.array([(0, 0, 0), (255, 0, 0), (0, 200, 10), (20, 20, 255)], np.uint8)
ON_WHITE = np.array([(255, 255, 255), (255, 0, 0), (0, 200, 10), (20, 20, 255)], np.uint8)


def saved(path, colors):
    if path.suffix == ".tif":
        tifffile.imwrite(path, colors, photometric="rgb")
    else:
        Image.fromarray(colors).save(path)
    return path


@pytest.mark.parametrize("name", ["labels.png", "labels.tif", "labels.bmp"])
@pytest.mark.parametrize("palette", [ON_BLACK, ON_WHITE])
def test_colours_are_numbered_in_the_order_in_which_they_appear(tmp_path, name, palette):
    picture = read_labels(saved(tmp_path / name, palette[NUMBERS]), number_colors=True)
    assert picture.data.tolist() == IN_ORDER
    assert picture.axes == "YX"
    assert "Its 4 colours became numbers" in picture.notes[-1]


def test_without_the_option_the_error_offers_it(tmp_path):
    path = saved(tmp_path / "labels.png", ON_BLACK[NUMBERS])
    with pytest.raises(FileError, match=r"4 colours.*number_colors=True, or --number-colors"):
        read_labels(path)


def test_grey_values_in_a_colour_picture_are_the_labels(tmp_path):
    picture = read_labels(saved(tmp_path / "labels.png", np.stack([NUMBERS] * 3, axis=-1).astype(np.uint8)))
    assert picture.data.tolist() == NUMBERS.tolist()


def test_a_photograph_is_refused(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    with pytest.raises(FileError, match="as a photograph or a JPEG"):
        read_labels(saved(tmp_path / "photograph.png", colors), number_colors=True)


def test_evaluate_scores_colours(tmp_path, capsys):
    truth, prediction = (saved(tmp_path / name, ON_BLACK[NUMBERS]) for name in ("a.png", "b.png"))
    assert main(["evaluate", str(truth), str(prediction), "--number-colors"]) == 0
    printed = capsys.readouterr()
    assert "1.0000" in printed.out
    assert "Its 4 colours became numbers" in printed.err
