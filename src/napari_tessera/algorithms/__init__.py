"""Image processing by the name of the technique: arrays in, arrays out."""
