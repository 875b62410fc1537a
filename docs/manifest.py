"""Write the manifest `napari.yaml` from the methods and the samples, for napari to find them.

`python docs/manifest.py` writes it; a test says whether it was written after the last change.
"""

from __future__ import annotations

import sys
from pathlib import Path

from napari_tessera.gui.correct.tools import TOOLS
from napari_tessera.gui.docked import dock_name
from napari_tessera.gui.point.commands import COMMANDS
from napari_tessera.methods.registry import METHODS
from napari_tessera.sample_data import SAMPLES

MANIFEST = Path(__file__).parents[1] / "src/napari_tessera/napari.yaml"
PLUGIN = "napari-tessera"
START = ("start_here", "Start here…")
OPEN = ("open_image", "Open with Tessera…", "napari_tessera.gui.open_image:open_image")
CORRECT = ("correct", "Correct labels")
TRAIN = ("train", "Train")


def manifest() -> str:
    """Return the text of the manifest."""
    named = (START, *((each.name, each.title) for each in METHODS), CORRECT, TRAIN)
    widgets = [(name, title, f"napari_tessera.gui.docked:{dock_name(name)}") for name, title in named]
    samples = [(each.name, each.title, f"napari_tessera.gui.sample_data:{each.name}") for each in SAMPLES]
    of_tools = f"{CORRECT[1]} · {{}}", "napari_tessera.gui.correct.commands:{}"
    tools = [
        (f"{CORRECT[0]}.{each.name}", of_tools[0].format(each.title.lower()), of_tools[1].format(each.name))
        for each in TOOLS
    ]
    actions = [
        (f"point.{name}", f"Point · {title}", f"napari_tessera.gui.point.commands:{name}")
        for name, title in COMMANDS.items()
    ]
    commands = [*widgets, OPEN, *tools, *actions, *((f"sample.{name}", title, where) for name, title, where in samples)]
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


if __name__ == "__main__":
    MANIFEST.write_text(manifest(), encoding="utf-8")
    sys.stdout.write(f"{MANIFEST}\n")
