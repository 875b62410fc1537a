"""What opening a widget costs, and that every menu has it."""

import gc
import subprocess
import sys
import threading

import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest
from qtpy.QtCore import Qt

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.qt.worker import LatestOnlyWorker, Runner, freeze_gc, short_switch_interval
from napari_tessera.gui.widgets import WatershedWidget
from napari_tessera.methods.registry import METHODS
from tests.helpers.docs_scripts import docs_script

MANIFEST = PluginManifest.from_distribution("napari-tessera")

SMALL_SCREEN_PX = 800
START = {"start_here": "Start here…"}
OTHERS = {"correct": "Correct labels", "train": "Train"}
"""Widgets that are no method's, by command and title."""

HEAVY = {"torch", "skimage", "sklearn", "dask"}

OPEN = """
import sys
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
before = set(sys.modules)
from napari_tessera.gui import compare as compare_widget, widgets
from napari_tessera.gui.correct import widget as correct_widget
from napari_tessera.gui.point import widget as point_widget
from napari_tessera.gui.train import widget as train_widget
names = [name for name in vars(widgets) if name.endswith("Widget") and name != "MethodWidget"]
opened = [getattr(widgets, name)(ViewerModel()) for name in names]
opened += [compare_widget.CompareWidget(ViewerModel()), train_widget.TrainWidget(ViewerModel())]
opened += [correct_widget.CorrectWidget(ViewerModel()), point_widget.PointWidget(ViewerModel())]
print(len(opened), *{module.split(".")[0] for module in set(sys.modules) - before})
"""


def test_opening_the_widgets_imports_nothing_heavy():
    found = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, check=True)
    count, *imported = found.stdout.split()
    assert int(count) == len(METHODS) + len(OTHERS)
    assert not HEAVY & set(imported)


def test_manifest_is_the_one_that_the_script_writes():
    script = docs_script("manifest")
    assert script.MANIFEST.read_text(encoding="utf-8") == script.manifest(), "Run python docs/manifest.py"


def test_every_method_and_what_is_none_have_a_widget_in_the_plugins_menu():
    titles = [widget.display_name for widget in MANIFEST.contributions.widgets]
    assert titles == [*START.values(), *(method.title for method in METHODS), *OTHERS.values()]


def test_every_method_and_what_is_none_stand_under_layers_segment():
    commands = [item.command for item in MANIFEST.contributions.menus["napari/layers/segment"]]
    assert commands == [f"napari-tessera.{name}" for name in (*START, *(method.name for method in METHODS), *OTHERS)]


def test_everything_the_manifest_names_can_be_imported():
    MANIFEST.validate_imports()


@pytest.fixture
def runner(qtbot):
    runner = Runner()
    yield runner
    runner.cancel()
    runner.wait(5)


def _failing():
    yield Progress(0, 1)
    raise RuntimeError("torch says no")


def test_runtime_error_reaches_the_widget(runner, qtbot):
    with qtbot.waitSignal(runner.failed, timeout=5_000) as found:
        runner.start(_failing())
    assert str(found.args[0]) == "torch says no"


def test_result_reaches_the_widget(runner, qtbot):
    def job():
        yield Progress(0, 1)
        return 7

    with qtbot.waitSignal(runner.returned, timeout=5_000) as found:
        runner.start(job())
    assert found.args == [7]


@pytest.mark.parametrize("outcome", ["failed", "returned", "cancelled"])
def test_a_run_is_over_before_its_last_signal(runner, qtbot, outcome):
    def job():
        yield Progress(0, 1)
        while outcome == "cancelled":
            yield Progress(0, 1)
        if outcome == "failed":
            raise RuntimeError

    was_running = []
    last = getattr(runner, outcome)
    last.connect(lambda *_: was_running.append(runner.is_running), Qt.ConnectionType.DirectConnection)
    with qtbot.waitSignal(last, timeout=5_000):
        runner.start(job())
        if outcome == "cancelled":
            runner.cancel()
    assert was_running == [False]


def test_cancel_closes_the_generator(runner, qtbot):
    closed, started = threading.Event(), threading.Event()

    def job():
        try:
            while True:
                started.set()
                yield Progress(0, 1)
        finally:
            closed.set()

    runner.start(job())
    assert started.wait(5)
    with qtbot.waitSignal(runner.cancelled, timeout=5_000):
        runner.cancel()
    assert closed.is_set()


def test_second_start_is_refused_while_one_runs(runner):
    def job():
        while True:
            yield Progress(0, 1)

    runner.start(job())
    with pytest.raises(ValueError, match="running already"):
        runner.start(job())


def test_usual_switching_comes_back():
    usual = sys.getswitchinterval()
    with short_switch_interval(), short_switch_interval():
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == usual


@pytest.fixture
def nothing_frozen():
    """Let Python look at all objects for garbage, as it does in napari."""
    gc.unfreeze()


def test_what_there_was_before_a_run_is_looked_at_for_garbage_again_after_the_last(nothing_frozen):
    with freeze_gc():
        with freeze_gc():
            assert gc.get_freeze_count() > 0
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_what_others_spare_is_spared_after_a_run_too(nothing_frozen):
    gc.freeze()
    count = gc.get_freeze_count()
    with freeze_gc():
        assert gc.get_freeze_count() == count
    assert gc.get_freeze_count() == count


def test_a_run_spares_what_there_was_before(nothing_frozen, qtbot):
    runner, counts = Runner(), []

    def job():
        yield Progress(0, 1)
        counts.append(gc.get_freeze_count())

    with qtbot.waitSignal(runner.returned):
        runner.start(job())
    assert counts[0] > 0


def test_latest_request_wins(qtbot):
    latest, busy, go_on = LatestOnlyWorker(), threading.Event(), threading.Event()

    def slow():
        yield Progress(0, 1)
        busy.set()
        go_on.wait(5)
        yield Progress(0, 1)
        return "old"

    def quick(answer):
        yield Progress(0, 1)
        return answer

    found = []
    latest.ready.connect(lambda about, result: found.append((about, result)))
    latest.ask(1, slow())
    assert busy.wait(5)
    latest.ask(2, quick("skipped"))
    latest.ask(3, quick("new"))
    go_on.set()
    qtbot.waitUntil(lambda: bool(found), timeout=5_000)
    latest.stop()
    assert found == [(3, "new")]


def test_all_widgets_at_once_fit_on_a_small_screen(viewer, open_widget):
    titles = [*(method.title for method in METHODS), *OTHERS.values()]
    assert sum(open_widget(title).minimumSizeHint().height() for title in titles) < 0.7 * SMALL_SCREEN_PX


def test_run_stays_in_sight_where_room_is_short(qtbot):
    widget = WatershedWidget(ViewerModel())
    qtbot.addWidget(widget)
    widget.more_settings.open()
    widget.resize(320, 320)
    widget.show()
    qtbot.waitUntil(lambda: widget.bar.isVisible())
    button = widget.bar.run_button
    assert button.mapTo(widget, button.rect().bottomLeft()).y() < widget.height()
    widget.shut_down()
