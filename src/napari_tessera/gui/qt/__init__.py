"""Parts of the window that do not depend on a method: threads, buttons, layout, docking."""
