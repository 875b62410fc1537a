"""Live preview, comparison and samples in a real viewer."""

from dataclasses import replace

import numpy as np
import pytest

from napari_tessera.engine import api
from napari_tessera.gui.form.layer_combo import PREVIEW
from napari_tessera.sample_data import SAMPLES
from tests.helpers.scenes import blobs, two_boxes
from tests.helpers.tiny_models import save_bright


@pytest.fixture
def previewed(viewer, open_widget, qtbot):
    viewer.add_image(blobs(), scale=(2, 2), translate=(10, 20), name="blobs")
    widget = open_widget("Threshold")
    widget.preview_switch.value = True
    qtbot.waitUntil(lambda: widget.preview.layer is not None, timeout=30_000)
    yield widget
    widget.shut_down()


def test_preview_shows_what_a_run_would_give(previewed):
    np.testing.assert_array_equal(previewed.preview.layer.data, api.segment("threshold", blobs()).labels)


def test_preview_lies_on_the_image(previewed, viewer):
    image, shown = viewer.layers["blobs"], previewed.preview.layer
    for pixel in ((0, 0), (19, 0), (7, 23)):
        np.testing.assert_allclose(shown.data_to_world(pixel), image.data_to_world(pixel))


def test_coarse_preview_covers_the_pixels_it_stands_for():
    from napari.layers import Image

    from napari_tessera.engine.preview import PreviewRequest, View
    from napari_tessera.gui.method.preview_and_estimate import view_to_world

    image = Image(np.zeros((40, 40)), scale=(0.5, 0.5), rotate=[[0.0, -1.0], [1.0, 0.0]])
    view = View({}, 8, 12, 40, 40, 4)
    matrix = view_to_world(image, PreviewRequest("threshold", image.data, "YX", view, {}))
    # The outer corner of the preview's first pixel is that of the image's pixel (8, 12).
    corner = matrix @ [-0.5, -0.5, 1]
    np.testing.assert_allclose(corner[:2], image.data_to_world((7.5, 11.5)))


def test_changed_setting_changes_the_same_layer(previewed, viewer, qtbot):
    layer, before = previewed.preview.layer, previewed.preview.layer.data
    previewed.form.fields["polarity"].value = "dark"
    qtbot.waitUntil(lambda: layer.data is not before, timeout=30_000)
    assert previewed.preview.layer is layer
    assert layer.data[0, 0] == 1


def test_preview_is_never_offered_as_an_input(previewed, open_widget):
    assert open_widget("Refine labels").inputs.main.offered() == []


def test_preview_leaves_the_selection_alone(previewed, viewer):
    assert viewer.layers.selection.active.name == "blobs"


def test_preview_goes_when_switched_off(previewed, viewer):
    previewed.preview_switch.value = False
    assert [layer.name for layer in viewer.layers] == ["blobs"]


def test_preview_is_switched_off_when_its_image_is_deleted(previewed, viewer):
    viewer.layers.remove("blobs")
    assert previewed.preview_switch.value is False
    assert len(viewer.layers) == 0


def test_preview_is_switched_off_when_all_layers_are_deleted(previewed, viewer):
    viewer.layers.clear()
    assert previewed.preview_switch.value is False


def test_preview_goes_when_the_widget_is_closed(previewed, viewer):
    viewer.window.remove_dock_widget(previewed)
    assert [layer.name for layer in viewer.layers] == ["blobs"]


def test_result_takes_the_place_of_the_preview(previewed, viewer, run):
    run(previewed)
    assert [layer.name for layer in viewer.layers] == ["blobs", "blobs · threshold"]


def test_preview_layer_deleted_by_hand_comes_back_at_the_next_change(previewed, viewer, qtbot):
    viewer.layers.remove(previewed.preview.layer)
    previewed.form.fields["polarity"].value = "dark"
    qtbot.waitUntil(lambda: any(PREVIEW in layer.metadata for layer in viewer.layers), timeout=30_000)


def test_preview_of_a_newly_opened_image_lies_on_it_under_its_name(previewed, viewer, qtbot):
    viewer.add_image(255 - blobs(), name="new")
    qtbot.waitUntil(lambda: viewer.layers[-1].name == "new · preview", timeout=30_000)
    assert [layer.name for layer in viewer.layers] == ["blobs", "new", "new · preview"]


def test_bad_setting_is_said_while_previewing(previewed, qtbot):
    previewed.form.values = {"low": 9, "high": 5, "method": "manual"}
    qtbot.waitUntil(lambda: "Low is 9" in previewed.bar.message.text(), timeout=30_000)


@pytest.fixture
def compared(viewer, open_widget, run):
    truth = two_boxes()
    prediction = np.where(truth == 1, 7, 0)
    viewer.add_labels(truth, name="truth")
    viewer.add_labels(prediction, name="found")
    widget = open_widget("Compare with truth")
    run(widget)
    return widget


def test_comparison_shows_the_scores(compared):
    assert compared.panel._scores["AP 0.5"].text() == "<b>0.500</b>"
    legend = compared.panel.legend.text().replace("&nbsp;", " ")
    assert "1 found" in legend
    assert "1 missed" in legend


def test_mistakes_stand_first(compared):
    model = compared.panel.model
    assert [model.data(model.index(row, 1)) for row in range(model.rowCount())] == ["missed", "found"]


FEWEST_NUCLEI = 100
"""Far fewer than there are in the image of the demo."""


def test_missed_object_has_its_own_colour(compared):
    np.testing.assert_allclose(compared.errors.get_color(2)[:3], np.array([0xD5, 0x5E, 0x00]) / 255, atol=0.01)


def test_clicked_object_selects_its_row(compared):
    class Click:
        position, view_direction, dims_displayed = (14.0, 15.0), None, [0, 1]

    for _ in compared._on_click(compared.errors, Click()):
        pass
    assert compared.panel.objects.currentIndex().row() == 0


def test_clicked_row_selects_the_object_and_moves_there(compared, viewer):
    compared.panel.objects.clicked.emit(compared.panel.model.index(0, 0))
    assert compared.errors.selected_label == 2
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (14, 16))


@pytest.mark.parametrize("entry", SAMPLES, ids=lambda entry: entry.name)
def test_sample_opens_with_its_scale_and_axis_names(entry, viewer):
    layers = viewer.open_sample("napari-tessera", entry.name)
    sample = entry.load()
    assert layers[0].data.shape == sample.image.shape
    assert "".join(layers[0].axis_labels).upper() == sample.axes.replace("C", "") or "C" in sample.axes
    assert layers[0].scale[-1] == sample.spatial.scale[-1]
    if sample.truth is not None:
        np.testing.assert_array_equal(layers[1].data, sample.truth)


def test_demo_opens_with_the_widget_and_finds_the_nuclei(make_napari_viewer, monkeypatch, qtbot):
    import napari

    from napari_tessera.cli.demo import IMAGE, METHOD, SETTINGS
    from napari_tessera.gui.method.widget import open_demo
    from napari_tessera.methods.registry import method_named

    monkeypatch.setattr(napari, "Viewer", lambda title: make_napari_viewer(title=title))
    viewer = open_demo(IMAGE, METHOD, SETTINGS, block=False)
    title = method_named(METHOD).title
    assert f"{title} (napari-tessera)" in viewer.window.dock_widgets
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=120_000)
    assert [layer.name for layer in viewer.layers] == ["haematoxylin", f"haematoxylin · {title.lower()}"]
    assert viewer.layers[-1].data.max() > FEWEST_NUCLEI


def test_a_preview_has_outlines_and_hides_the_result_meanwhile(viewer, open_widget, run, qtbot):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    run(widget)
    result = viewer.layers[-1]
    widget.preview_switch.native.click()
    qtbot.waitUntil(lambda: widget.preview.layer is not None, timeout=30_000)
    assert widget.preview.layer.contour > 0
    assert not result.visible
    widget.preview_switch.native.click()
    assert result.visible


def test_a_unet_follows_its_threshold_without_looking_again(viewer, open_widget, qtbot, tmp_path, monkeypatch):
    y, x = np.mgrid[:80, :80]
    viewer.add_image(np.clip(200 - 8 * np.hypot(y - 40, x - 40), 0, None), name="soft")
    widget = open_widget("U-Net")
    widget.form.fields["model"].value = str(save_bright(tmp_path / "bright.safetensors"))
    redecoding, looks = widget.method.redecoding, []
    counting = replace(
        redecoding, look=lambda *given, **settings: looks.append(1) or redecoding.look(*given, **settings)
    )
    monkeypatch.setattr(
        "napari_tessera.engine.preview.method_named", lambda _: replace(widget.method, redecoding=counting)
    )
    widget.preview_switch.value = True
    assert "looks at this plane once" in widget.bar.message.text()
    qtbot.waitUntil(lambda: widget.preview.layer is not None, timeout=60_000)
    sizes = []
    for threshold in (0.9, 0.2):
        before = widget.preview.layer.data
        widget.form.fields["threshold"].value = threshold
        qtbot.waitUntil(lambda before=before: widget.preview.layer.data is not before, timeout=30_000)
        sizes.append(np.count_nonzero(widget.preview.layer.data))
    assert 0 < sizes[0] < sizes[1]
    assert looks == [1]
    widget.shut_down()
