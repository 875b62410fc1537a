"""The widget "Start here…": several methods on the image in view, side by side."""
