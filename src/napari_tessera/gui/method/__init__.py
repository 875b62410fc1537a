"""The widget of a method."""
