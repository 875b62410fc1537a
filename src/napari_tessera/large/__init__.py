"""Images in pieces: tiles, blocks and the joining of what was found in them."""
