"""Write the manifest `napari.yaml` from the methods and the samples, for napari to find them.

`python docs/manifest.py` writes it; a test says whether it was written after the last change.
"""

from __future__ import annotations

import sys
from pathlib import Path

from napari_tessera.gui.correct.tools import TOOLS
from napari_tessera.gui.widgets import OWN_WIDGETS, class_name
from napari_tessera.methods.registry import METHODS
from napari_tessera.sample_data import SAMPLES

MANIFEST = Path(__file__).parents[1] / "src/napari_tessera/napari.yaml"
PLUGIN = "napari-tessera"
START = ("start_here", "Start here…", "napari_tessera.gui.start_here.widget:StartHereWidget")
OPEN = ("open_image", "Open with Tessera…", "napari_tessera.gui.open_image:open_image")
CORRECT = ("correct", "Correct labels", "napari_tessera.gui.correct.widget:CorrectWidget")
TRAIN = ("train", "Train", "napari_tessera.gui.train.widget:TrainWidget")


def manifest() -> str:
    """Return the text of the manifest."""
    widgets = [
        START,
        *((each.name, each.title, OWN_WIDGETS.get(each.name, _widget(each.name))) for each in METHODS),
        CORRECT,
        TRAIN,
    ]
    tools = [
        (
            f"correct.{tool.name}",
            f"Correct labels · {tool.title.lower()}",
            f"napari_tessera.gui.correct.commands:{tool.name}",
        )
        for tool in TOOLS
    ]
    samples = [(each.name, each.title, f"napari_tessera.gui.sample_data:{each.name}") for each in SAMPLES]
    commands = [*widgets, OPEN, *tools, *((f"sample.{name}", title, where) for name, title, where in samples)]
    return "".join(
        [
            f"name: {PLUGIN}\ndisplay_name: Tessera\ncontributions:\n",
            "  commands:\n",
            *(
                f"    - id: {PLUGIN}.{name}\n      title: {title}\n      python_name: {where}\n"
                for name, title, where in commands
            ),
            "  widgets:\n",
            *(f"    - command: {PLUGIN}.{name}\n      display_name: {title}\n" for name, title, _ in widgets),
            "  menus:\n    napari/layers/segment:\n",
            *(f"      - command: {PLUGIN}.{name}\n" for name, _, _ in widgets),
            f"    napari/file/io_utilities:\n      - command: {PLUGIN}.{OPEN[0]}\n",
            "  sample_data:\n",
            *(
                f"    - command: {PLUGIN}.sample.{name}\n      key: {name}\n      display_name: {title}\n"
                for name, title, _ in samples
            ),
        ]
    )


def _widget(method_name: str) -> str:
    return f"napari_tessera.gui.widgets:{class_name(method_name)}"


if __name__ == "__main__":
    MANIFEST.write_text(manifest(), encoding="utf-8")
    sys.stdout.write(f"{MANIFEST}\n")
