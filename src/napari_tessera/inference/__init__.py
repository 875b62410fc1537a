"""From an image to labels with a network: normalise, find the scale, predict tile by tile, decode."""
