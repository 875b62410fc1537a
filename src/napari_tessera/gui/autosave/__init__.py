"""Keep a copy of annotations on disk while the user paints."""
