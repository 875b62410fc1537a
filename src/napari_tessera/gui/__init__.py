"""The napari front end: the only code that knows napari, Qt or magicgui."""
