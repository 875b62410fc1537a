"""Recipes, records beside images and checkpoints of another shape get a sentence that names the place."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera import io
from napari_tessera.cli.main import main
from napari_tessera.core.errors import FileError, InputError, TesseraError
from napari_tessera.core.file_checks import parse_json
from napari_tessera.core.record_schema import MOST_STEPS, check_recipe
from napari_tessera.core.result import DEEPEST
from tests.helpers.scenes import blobs

STEP = {"tessera": 1, "method": "threshold", "parameters": {}, "axes": "YX"}
SEEDS = {"shape": [20, 24], "dtype": "i4"}


def refusal(**changes):
    """Return what is said of a record with these changes."""
    with pytest.raises(InputError, match="The recipe is damaged: ") as caught:
        tessera.run({**STEP, **changes}, blobs())
    return str(caught.value).removeprefix("The recipe is damaged: ")


def grown(depth):
    """Return a record whose labels were made by a run on labels that were made by a run and so on."""
    record = STEP
    for _ in range(depth):
        labels = {**SEEDS, "sha256": "0", "record": record}
        record = {**STEP, "method": "refine", "inputs": {"labels": labels}}
    return record


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"axes": 3}, "axes is 3, but it should be a valid string"),
        ({"axes": "Y X"}, "axes is 'Y X', but it should be letters, one for each axis"),
        ({"spacing": "wide"}, "spacing is 'wide', but it should be a valid list"),
        ({"spacing": [1, True]}, "spacing → 1 is True, but it should be a valid number"),
        ({"spacing": [0, 1]}, "spacing → 0 is 0, but it should be greater than 0"),
        ({"spacing": [float("inf"), 1]}, "spacing → 0 is inf, but it should be a finite number"),
        ({"unit": ["µm"]}, "unit is ['µm'], but it should be a valid string"),
        ({"region": 5}, "region is 5, but it should be a dictionary"),
        ({"region": {"planes": {"T": "first"}}}, "region → planes → T is 'first', but it should be a valid integer"),
        ({"region": {"polygons": [[[1, 2], [3]]]}}, "region → polygons → 0 → 1 is [3], but it should have at least 2"),
        ({"parameters": {"method": ["otsu"]}}, "parameters → method is ['otsu'], but it should be a number, a text"),
        ({"inputs": {"markers": {**SEEDS, "shape": [-3, 24]}}}, "inputs → markers → shape → 0 is -3, but it should be"),
        ({"inputs": {"markers": {**SEEDS, "shape": [2**40] * 2}}}, "inputs → markers → shape is [1099511627776, 10995"),
        ({"inputs": {"markers": {**SEEDS, "shape": [10**5000]}}}, "inputs → markers → shape → 0 is a number of about"),
        ({"inputs": {"markers": {**SEEDS, "dtype": "O"}}}, "inputs → markers → dtype is 'O', but it should be 'b1'"),
        ({"inputs": {"markers": {"dtype": "i4"}}}, "inputs → markers → shape is missing"),
        ({"inputs": {"markers": {**SEEDS, "zlib": "A" * 2_000_000}}}, "inputs → markers → zlib is 'AAA"),
        ({"inputs": {"markers": {**SEEDS, "record": []}}}, "inputs → markers → record is [], but it should have at"),
        ({"blocks": {"size": [0]}}, "blocks → size → 0 is 0, but it should be greater than or equal to 1"),
        ({"model": {"name": 3, "sha256": ""}}, "model → name is 3, but it should be a valid string"),
        ({"unit": "\ud800"}, "unit is '\\ud800', but it should not hold half of a character (a lone surrogate)"),
    ],
)
def test_what_is_wrong_in_a_record_is_named_with_its_place(changes, sentence):
    assert refusal(**changes).startswith(sentence)


def test_a_step_is_named_by_its_number():
    with pytest.raises(InputError, match="The recipe is damaged: step 2: axes is 3"):
        tessera.run([STEP, {**STEP, "axes": 3}], blobs())


def test_a_record_that_holds_itself_is_refused():
    record = {**STEP}
    record["inputs"] = {"image": {**SEEDS, "record": record}}
    with pytest.raises(InputError, match="nested too deeply, or contains itself"):
        tessera.run(record, blobs())


def test_labels_made_from_labels_many_times_are_made_again():
    assert np.array_equal(tessera.run(grown(50), blobs()).labels > 0, tessera.run(STEP, blobs()).labels > 0)


@pytest.mark.parametrize("depth", [250, 10_000])
def test_labels_made_from_labels_too_many_times_are_refused(depth):
    with pytest.raises(InputError, match="The recipe"):
        tessera.run(grown(depth), blobs())


def test_a_million_steps_are_refused_at_once():
    with pytest.raises(InputError, match=f"1000000 steps, but it needs at least one step, at most {MOST_STEPS}"):
        check_recipe([STEP] * 10**6)


def packed(array, **changes):
    """Describe seeds that a record holds."""
    text = base64.b64encode(zlib.compress(array.astype("<i4").tobytes())).decode()
    return {"shape": list(array.shape), "dtype": "i4", "zlib": text, **changes}


def test_seeds_far_larger_than_the_image_are_not_unpacked():
    bomb = packed(np.zeros((300, 1000), np.int32), shape=[25_000, 20_000])
    record = {**STEP, "method": "region_growing", "inputs": {"seeds": bomb}}
    with pytest.raises(InputError, match=r"`seeds` has shape \(25000, 20000\), but the image has \(20, 24\)"):
        tessera.run(record, blobs())


@pytest.mark.parametrize(
    "damage",
    [
        {"zlib": "%%%%"}, {"zlib": "AAAA"}, {"sha256": "0" * 64}, {"shape": [24, 21]}, {"shape": [0, 24]},
        {"dtype": "u1"},
    ],
)  # fmt: skip
def test_seeds_that_are_not_those_that_were_kept_are_refused(damage):
    seeds = packed(np.ones((20, 24), np.int32), **damage)
    with pytest.raises(FileError, match="embedded array is damaged"):
        tessera.run({**STEP, "method": "region_growing", "inputs": {"seeds": seeds}}, blobs())


def test_seeds_of_null_are_asked_for():
    seeds = packed(np.ones((20, 24), np.int32), zlib=None)
    with pytest.raises(InputError, match="Give it as seeds=array"):
        tessera.run({**STEP, "method": "region_growing", "inputs": {"seeds": seeds}}, blobs())


JUNK = {
    "deep": "[" * 100_000,
    "nested": "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    "twice": '{"tessera": 1, "tessera": 1}',
    "endless": '{"tessera": Infinity}',
    "no number": '{"tessera": NaN}',
    "huge": '{"tessera": 1' + "0" * 400 + "}",
    "half a character": '{"method": "\\ud800"}',
}


@pytest.mark.parametrize("text", JUNK.values(), ids=JUNK)
def test_json_that_is_no_plain_data_is_refused(tmp_path, capsys, text):
    (tmp_path / "recipe.json").write_text(text)
    assert main(["run", str(tmp_path / "recipe.json"), "image.tif", "-o", str(tmp_path / "out.tif")]) == 1
    said = capsys.readouterr().err
    assert "is not a recipe" in said
    assert len(said) < 500


def test_half_a_character_behind_its_other_half_is_one():
    assert parse_json('"\\ud83d\\udd2c"') == "🔬"


@pytest.fixture
def picture(tmp_path):
    """A label image with the record beside it."""
    result = tessera.segment("threshold", blobs(), spacing=0.5, unit="µm", axes="YX")
    io.write_result(result, tmp_path / "labels.npy")
    return tmp_path / "labels.npy"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scale": [0.5]}, "outputs → 0 → spatial is .* should have a letter, a scale"),
        ({"scale": ["a", 1]}, "outputs → 0 → spatial → scale → 0 is 'a'"),
        ({"axes": 5}, "outputs → 0 → spatial → axes is 5"),
        ({"units": [3, "µm"]}, "outputs → 0 → spatial → units → 0 is 3"),
    ],
)
def test_a_damaged_record_beside_an_image_is_not_passed_over(picture, changes, sentence):
    record = json.loads(picture.with_suffix(".json").read_text(encoding="utf-8"))
    record["outputs"][0]["spatial"].update(changes)
    picture.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(TesseraError, match=f"labels.json is damaged: {sentence}"):
        io.read_labels(picture)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"outputs": 3}', "3", '{"a": NaN}', "\x00"])
def test_json_of_another_program_beside_an_image_is_passed_over(picture, text):
    picture.with_suffix(".json").write_text(text)
    assert io.read_labels(picture).spatial.spacing == (1.0, 1.0)
