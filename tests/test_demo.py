"""`tessera demo` where no window can open."""

import numpy as np
import pytest
from PIL import Image

from napari_tessera import demo
from napari_tessera.cli import main
from napari_tessera.io import read_labels


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder)
    return folder


def test_demo_finds_the_24_coins(written):
    assert read_labels(written / "coins-labels.tif").data.max() == 24


def test_demo_draws_a_picture_of_the_image_s_size(written):
    picture = np.asarray(Image.open(written / "coins-overlay.png"))
    assert picture.shape == (303, 384, 3)


def test_demo_without_a_window_says_why_and_writes_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert main(["demo"]) == 0
    assert "No window can be opened (QT_QPA_PLATFORM is offscreen)" in capsys.readouterr().out
    assert (tmp_path / "tessera-demo" / "coins-labels.tif").exists()


def test_demo_prints_the_counts(tmp_path, capsys):
    assert main(["demo", "--headless", str(tmp_path)]) == 0
    assert "threshold on coins (303 × 384): 24 objects" in capsys.readouterr().out


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
