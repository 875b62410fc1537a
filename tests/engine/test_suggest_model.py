"""Suggest a model: which models are tried, how sure they are, and the part of the image that is shown."""

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.engine.suggest_model import Trial, suggest_model, verdict
from napari_tessera.inference.object_features import Likeness
from napari_tessera.inference.scale_search import Scale
from napari_tessera.models import registry as catalogue
from tests.helpers.scenes import blobs, many_boxes
from tests.helpers.tiny_models import save_bright


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder with one model, which finds what is bright, and no other models."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr("napari_tessera.models.registry.shipped_folder", lambda: folder)
    save_bright(folder / "bright.safetensors")
    return folder


def names(suggestions):
    return [each.model for each in suggestions]


def test_objects_that_are_found_again_make_a_model_sure(models):
    (bright,) = suggest_model(many_boxes())
    assert (bright.model, bright.n_objects, bright.fits) == ("bright", 12, True)
    assert "Bright things (bright) fits best" in verdict([bright])


def test_objects_that_vanish_when_the_image_is_darker_make_it_less_sure(models):
    dim = many_boxes()
    dim[:, :48] = 0.6 * dim[:, :48]  # the model finds what is brighter than a half
    (sure,), (unsure,) = suggest_model(many_boxes()), suggest_model(dim)
    assert unsure.n_objects == sure.n_objects
    assert unsure.confidence < sure.confidence


def test_the_surest_model_comes_first(models):
    save_bright(models / "another.safetensors", n_channels=5, classes=["background", "thing"])
    found = suggest_model(blobs())
    assert sorted(names(found)) == ["another", "bright"]
    assert found[0].confidence >= found[1].confidence


def test_no_model_fits_an_empty_image(models):
    found = suggest_model(np.full((64, 64), 7, np.uint8))
    assert [(each.confidence, each.fits, each.n_objects) for each in found] == [(0.0, False, 0)]
    assert verdict(found).startswith("None of the models fits")


def test_models_for_other_images_are_not_tried(models):
    save_bright(models / "volume.safetensors", ndim=3)
    save_bright(models / "classes.safetensors", task="classes", classes=["background", "one", "two"])
    save_bright(
        models / "stains.safetensors",
        n_channels=2,
        channels=["one", "two"],
        normalisation={"kind": "channels", "count": 2, "low_percent": 0.5, "high_percent": 99.8},
    )
    (models / "torn.safetensors").write_bytes(b"torn")
    assert names(suggest_model(blobs())) == ["bright"]
    assert suggest_model(blobs(), network="mask-rcnn") == []
    assert verdict([]) == "None of the models takes such images."


def test_model_for_volumes_is_tried_on_a_volume(models):
    save_bright(models / "volume.safetensors", ndim=3)
    volume = blobs(3)
    found = suggest_model(volume, axes="ZYX")
    assert sorted(names(found)) == ["bright", "volume"]
    for each in found:
        assert volume[each.crop].shape == each.labels.shape


def test_crop_is_the_part_of_the_image_that_the_labels_show(models):
    film = np.zeros((3, 2, 72, 96), np.uint8)
    film[1] = many_boxes()
    (bright,) = suggest_model(film, axes="TCYX")
    assert bright.crop == (1, slice(None), slice(0, 72), slice(0, 96))
    np.testing.assert_array_equal(bright.labels > 0, film[bright.crop][0] > 100)


def test_a_large_image_is_looked_at_in_windows(models):
    image = np.tile(many_boxes(), (10, 8))
    (bright,) = suggest_model(image)
    assert image[bright.crop].shape == bright.labels.shape
    assert bright.labels.size < image.size / 2
    assert bright.labels.any()


def test_model_to_which_the_objects_are_foreign_does_not_fit():
    entry = catalogue.find("nuclei-unet")
    scales = [Scale(1.0, likeness=Likeness(0.99, distance=distance)) for distance in (0.5, 5.0)]
    fits, foreign = (Trial(entry, None, scale, None, (), [np.ones((2, 2), int)], 0.9) for scale in scales)
    assert [fits.is_foreign, foreign.is_foreign] == [False, True]
    assert foreign.confidence < 0.35 < fits.confidence


def test_unknown_network_is_refused(models):
    with pytest.raises(tessera.TesseraError, match="`network` is 'forest', but it must be one of unet, mask_rcnn"):
        suggest_model(blobs(), network="forest")


def test_exception_of_progress_cancels(models):
    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        suggest_model(blobs(), progress=stop)


def test_shipped_models_fit_nuclei_and_not_noise():
    nuclei = tessera.suggest_model(tessera.sample_data.nuclei_2d()[0], network="unet")
    noise = tessera.suggest_model(np.random.default_rng(0).normal(100, 10, (128, 128)), network="unet")
    assert nuclei[0].fits
    assert not any(each.fits for each in noise)
