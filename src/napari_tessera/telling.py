"""Tell whoever runs this process what is not worth an error: on the terminal, or in the corner of the window."""

from __future__ import annotations

import logging
from functools import cache

INFO, WARNING = logging.INFO, logging.WARNING
LOGGER = logging.getLogger("napari_tessera")
"""The command line and the window listen to it; in Python, warnings alone are printed."""


@cache
def say_once(text: str, level: int) -> None:
    """Say something to whoever runs this process, the first time only.

    Parameters
    ----------
    text : str
    level : int
        `WARNING`, or `INFO` where all is well and only takes its time.
    """
    LOGGER.log(level, text)
