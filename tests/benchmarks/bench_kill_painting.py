"""Kill napari while somebody paints and a network learns: python bench_kill_painting.py [--kills 20].

A real viewer in a process of its own (under Xvfb: `xvfb-run -a -s "-screen 0 1280x800x24" python …`) with the widget
Train: strokes are painted with the mouse without a pause, some are undone, one in ten is never let go for seconds, and
tiny networks learn one after the other. Then it is ended with SIGKILL: at random, or in the midst of writing a file.

What was on the layer, and when, is noted by the painting process as it paints. After each kill, the annotation that is
offered back is compared: the age of the oldest change that is lost is printed, and whether every file can be read.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
from bench_kill import check_files

COLUMNS = (
    "kill", "moment", "painted for", "strokes", "px come back", "oldest change lost was made before",
    "half-written files", "damaged files", "models", "checkpoint at step",
)  # fmt: skip
MOMENTS = ("random", "random", "random", "writing paint", "writing a checkpoint")
SIDE_PX, CELL_PX = 504, 24
TICK_MS, MOVES, LONG_MOVES = 15, 8, 60
LONG_EVERY, UNDO_EVERY = 10, 7
STROKES_BEFORE_TRAINING = 4
LEAST_SECONDS, MOST_SECONDS = 1.0, 8.0
GOAL_SECONDS = 10.0
SETTINGS = {"task": "classes", "start_from": "nothing", "widths": "4,8", "patch": 32, "batch": 1, "threads": 1}
STEPS, SECONDS_BETWEEN_CHECKPOINTS = 12, 0.2


class Painter:
    """Paints a stroke in one cell of the image after the other, with the mouse, and notes what is on the layer."""

    def __init__(self, viewer, layer, notes):
        from qtpy.QtCore import QTimer

        self.viewer, self.layer, self.notes = viewer, layer, notes
        self.canvas = viewer.window._qt_viewer.canvas.native
        self.strokes = self.moves = 0
        self.timer = QTimer()
        self.timer.timeout.connect(self.tick)

    def tick(self):
        """Press, move a little, or let go."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        length = LONG_MOVES if self.strokes % LONG_EVERY == LONG_EVERY - 1 else MOVES
        button, modifiers, at = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, self.on_canvas(length)
        if self.moves == 0:
            self.layer.selected_label = 1 + self.strokes % 2
            QTest.mousePress(self.canvas, button, modifiers, at)
        elif self.moves < length:
            QTest.mouseMove(self.canvas, at)
        else:
            QTest.mouseRelease(self.canvas, button, modifiers, at)
            self.note()
            if self.strokes % UNDO_EVERY == UNDO_EVERY - 1:
                self.layer.undo()
                self.note()
            self.strokes, self.moves = self.strokes + 1, 0
            return
        self.moves += 1
        self.note()

    def on_canvas(self, length):
        """Return where on the canvas the mouse is: on its way through a cell."""
        from qtpy.QtCore import QPoint

        row, column = np.array(divmod(self.strokes, SIDE_PX // CELL_PX)) * CELL_PX
        y, x = row + CELL_PX / 2, column + 4 + (CELL_PX - 8) * self.moves / length
        middle, zoom = self.viewer.scene.camera.center[-2:], self.viewer.scene.camera.zoom
        return QPoint(
            round(self.canvas.width() / 2 + (x - middle[1]) * zoom),
            round(self.canvas.height() / 2 + (y - middle[0]) * zoom),
        )

    def note(self):
        """Note what is on the layer in this cell, and when."""
        painted = int(np.count_nonzero(self.layer.data[cell_window(self.strokes)]))
        self.notes.write(json.dumps([time.time(), self.strokes, painted]) + "\n")
        self.notes.flush()


def cell_window(number):
    row, column = divmod(number, SIDE_PX // CELL_PX)
    return (slice(row * CELL_PX, (row + 1) * CELL_PX), slice(column * CELL_PX, (column + 1) * CELL_PX))


def paint_and_train(folder):
    """Do in a process of its own what is to be killed."""
    point_to(folder)
    import napari

    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1200, 780)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    bright = (columns + rows) % 96 < 48
    viewer.add_image(
        np.random.default_rng(0).normal(bright * 90 + 60, 12).clip(0, 255).astype(np.uint8), name="stripes"
    )
    _, docked = viewer.window.add_plugin_dock_widget("napari-tessera", "Train")
    widget = docked.whole()
    widget.form.values = SETTINGS | {"steps": STEPS}
    widget.pairs.first.new_button.click()
    often = {"save_every": SECONDS_BETWEEN_CHECKPOINTS}
    job = widget.job
    widget.job = lambda lesson, should_stop: job(replace(lesson, settings={**lesson.settings, **often}), should_stop)
    layer = widget.pairs.first.paint
    layer.brush_size = 3
    with (folder / "notes.jsonl").open("w") as notes:
        painter = Painter(viewer, layer, notes)
        painter.timer.timeout.connect(lambda: train_on(widget, painter))
        painter.timer.start(TICK_MS)
        napari.run()


def train_on(widget, painter):
    """Begin the next training when one has ended."""
    if painter.strokes >= STROKES_BEFORE_TRAINING and widget.bar.run_button.isEnabled():
        widget.bar.run_button.click()


def point_to(folder):
    """Let everything be kept in a folder of its own."""
    places = {"TESSERA_MODELS": "models", "TESSERA_ANNOTATIONS": "annotations", "XDG_CONFIG_HOME": "config"}
    for variable, name in places.items():
        os.environ[variable] = str(folder / name)


def wait_for(moment, folder, child, rng):
    """Wait until it is time to kill."""
    until = time.monotonic() + 120
    while child.is_alive() and not list(folder.glob("models/*.checkpoint")) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(rng.uniform(LEAST_SECONDS, MOST_SECONDS))
    pattern = {
        "writing paint": "annotations/*/.tessera/*/new/*",
        "writing a checkpoint": "models/.tessera/*/new/*",
    }.get(moment)
    seen, until = set(folder.glob(pattern)) if pattern else set(), time.monotonic() + 10
    while pattern and child.is_alive() and not set(folder.glob(pattern)) - seen and time.monotonic() < until:
        pass


def seconds_lost(notes, paint, killed):
    """Return how long before the kill the oldest change was made that is not in the paint; 0 where nothing is lost."""
    cells = {}
    for at, cell, count in notes:
        cells.setdefault(cell, [(0.0, 0)]).append((at, count))
    oldest = killed
    for cell, states in cells.items():
        found = int(np.count_nonzero(paint[cell_window(cell)]))
        known = [index for index, (_, count) in enumerate(states) if count == found]
        last = known[-1] if known else max(index for index, (_, count) in enumerate(states) if count < found)
        if found != states[-1][1] and last + 1 < len(states):
            oldest = min(oldest, states[last + 1][0])
    return killed - oldest


def restored(folder):
    """Return what is offered back, and how many of its files are damaged."""
    from napari_tessera.core.jobs import run_job
    from napari_tessera.gui.autosave.autosave import left_over, restoring
    from napari_tessera.io.annotation_store import read_blocks

    found = left_over(folder / "annotations")
    if not found:
        return np.zeros((SIDE_PX, SIDE_PX), np.uint8), 0
    (saved,) = found
    damaged = bool(saved.problem) + sum(block is None for _, block in read_blocks(saved))
    return run_job(restoring(saved)).data, damaged


def notes_of(folder):
    lines = (folder / "notes.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def checked(folder, killed):
    """Look at what is left: seconds lost, painted pixels, damaged files, models, and the step of the checkpoint."""
    paint, damaged = restored(folder)
    step, _ = check_files(folder / "models")
    models = len(list(folder.glob("models/*.safetensors")))
    return seconds_lost(notes_of(folder), paint, killed), int(np.count_nonzero(paint)), damaged, models, step


def turn(number, moment, folder, rng):
    """Let it paint and learn, kill it, and print a row; return the age of what is lost, and what is damaged."""
    forking = multiprocessing.get_context("fork")
    child = forking.Process(target=paint_and_train, args=(folder,))
    child.start()
    wait_for(moment, folder, child, rng)
    killed = time.time()
    child.kill()
    child.join()
    if child.exitcode != -signal.SIGKILL:
        sys.exit(f"It ended before kill {number}, with exit code {child.exitcode}.")
    with ProcessPoolExecutor(1, forking) as pool:  # threads that OpenMP began here would not outlive the next fork
        lost, painted, damaged, models, step = pool.submit(checked, folder, killed).result()
    notes, half_written = notes_of(folder), len(list(folder.glob("**/.tessera/*/new/*")))
    seconds = f"{killed - notes[0][0]:.1f} s"
    said = (number, moment, seconds, notes[-1][1], painted, f"{lost:.2f} s", half_written, damaged, models, step)
    print("| " + " | ".join(map(str, said)) + " |", flush=True)
    return lost, damaged


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=0, help="of the random moments")
    chosen = options.parse_args()
    for name in ("napari", "napari_tessera.gui.train.widget", "napari_tessera.training.unet_task"):
        import_module(name)  # so that each child starts at once
    rng = np.random.default_rng(chosen.seed)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    results = []
    for number in range(1, chosen.kills + 1):
        with tempfile.TemporaryDirectory() as folder:
            results.append(turn(number, MOMENTS[number % len(MOMENTS)], Path(folder), rng))
    oldest, damaged = max(lost for lost, _ in results), sum(damaged for _, damaged in results)
    print(f"{chosen.kills} kills: the oldest change lost was made {oldest:.2f} s before; {damaged} files damaged.")
    sys.exit(0 if oldest <= GOAL_SECONDS and not damaged else 1)


if __name__ == "__main__":
    main()
