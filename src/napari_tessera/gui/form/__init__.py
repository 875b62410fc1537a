"""The form of a method or of training: one field for each parameter."""
