"""Compiled passes over the pixels of an image that both methods and networks use."""
