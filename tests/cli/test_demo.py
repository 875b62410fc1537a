"""`tessera demo` where no window can open."""

import numpy as np
import pytest
from PIL import Image

from napari_tessera.cli import demo
from napari_tessera.cli.main import main
from napari_tessera.io import read_labels

FEWEST_NUCLEI = 100
"""Far fewer than there are in the image of the demo."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder)
    return folder


def test_demo_finds_the_nuclei(written):
    assert read_labels(written / "haematoxylin-labels.tif").data.max() > FEWEST_NUCLEI


def test_demo_draws_a_picture_of_the_image_s_size(written):
    picture = np.asarray(Image.open(written / "haematoxylin-overlay.png"))
    assert picture.shape == (512, 512, 3)


def test_demo_without_a_window_says_why_and_writes_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert main(["demo"]) == 0
    assert "No window can be opened (QT_QPA_PLATFORM is offscreen)" in capsys.readouterr().out
    assert (tmp_path / "tessera-demo" / "haematoxylin-labels.tif").exists()


def test_demo_prints_the_counts(tmp_path, capsys):
    assert main(["demo", "--headless", str(tmp_path)]) == 0
    assert "unet on haematoxylin (512 × 512): " in capsys.readouterr().out


def test_linux_without_a_display_opens_no_window(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert demo.why_no_window() == "there is no display"


def test_dead_display_opens_no_window(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":9999")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert demo.why_no_window() == "Qt cannot start here"
