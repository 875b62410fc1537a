"""Axes, pixel sizes, jobs, results, labels, tiles, files and errors, which all other packages use."""
