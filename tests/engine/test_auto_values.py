"""What a method worked with where the settings left it open: in records, in words, by frames and in blocks."""

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.cli.main import main
from napari_tessera.core.result import describe_auto_values
from napari_tessera.sample_data import nuclei_2d
from tests.helpers.scenes import blobs


def chosen(*arguments, **settings):
    return tessera.segment(*arguments, **settings).provenance.get("chosen")


def test_level_of_a_rule_is_recorded_and_gives_the_same_labels_by_hand():
    result = tessera.segment("threshold", blobs())
    (level,) = result.provenance["chosen"]["levels"]
    np.testing.assert_array_equal(result.labels > 0, blobs() > level)


def test_each_frame_has_its_own_entry():
    film = np.stack([blobs(), blobs() // 2])
    each = [chosen("threshold", frame)["levels"] for frame in film]
    assert chosen("threshold", film, axes="TYX") == {"levels": each}


@pytest.mark.parametrize("settings", [{"method": "manual", "low": 5.0}, {"method": "local-mean"}])
def test_nothing_is_told_where_nothing_was_left_open(settings):
    assert chosen("threshold", blobs(), **settings) is None


def test_blocks_record_the_same_as_the_whole():
    assert chosen("threshold", blobs(), blocks=20) == chosen("threshold", blobs())


@pytest.mark.parametrize("method", ["unet", "mask_rcnn"])
def test_diameter_is_recorded_if_it_was_not_given_and_finds_the_same_by_hand(method):
    image = nuclei_2d()[0][:150, :200]
    first = tessera.segment(method, image)
    diameter = first.provenance["chosen"]["diameter_px"]
    again = tessera.segment(method, image, diameter=diameter)
    assert "chosen" not in again.provenance
    assert tessera.evaluate(first.labels, again.labels)["ap"]["0.50"] > 0.95
    assert chosen(method, image, blocks=128)["diameter_px"] == pytest.approx(diameter, rel=0.2)


def test_replay_chooses_anew():
    record = tessera.segment("threshold", blobs()).provenance
    assert tessera.run(record, blobs() // 2).provenance["chosen"] == chosen("threshold", blobs() // 2)


def test_direct_calls_return_labels_alone():
    assert isinstance(tessera.threshold(blobs()), np.ndarray)
    assert isinstance(tessera.kmeans(blobs(), n_clusters=2), np.ndarray)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, ""),
        ({"levels": []}, ""),
        ({"levels": [0.25, 12345.6]}, "Levels: 0.25, 12346."),
        ({"levels": [[1.0], [], [2.0], [3.0], [4.0]]}, "Level: 1 to 4."),
        ({"diameter_px": [20.0, None, 20.0]}, "Diameter: 20 px (10 µm)."),
    ],
)
def test_words(found, words):
    record = {"chosen": found, "spacing": [2.0, 0.5], "unit": "micrometer"}
    assert describe_auto_values(tessera.Result((), record)) == words


def test_command_line_says_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", blobs())
    main(["threshold", "a.npy", "-o", "labels.tif"])
    assert "labels.tif (Level: " in capsys.readouterr().out
