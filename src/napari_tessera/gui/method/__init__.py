"""The dock widget of a method: inputs, form, live preview, run request, results."""
