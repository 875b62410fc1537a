"""The widget Point: objects that the user points at become labels, one after the other."""
