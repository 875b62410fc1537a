"""Save annotations in the background while the user paints."""
