"""How Sphinx builds the documentation: python -m sphinx --fail-on-warning docs OUT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import napari_tessera

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "Tessera"
author = "Tessera developers"
copyright = "Tessera developers, BSD-3-Clause"
version = release = napari_tessera.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "Tessera"
html_copy_source = False


def setup(app: Any) -> None:
    """Write the methods' pages before anything is read."""
    from method_pages import write_pages

    app.connect("config-inited", lambda *_: write_pages(HERE / "methods"))
