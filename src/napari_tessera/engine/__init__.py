"""Run a method: check the request, run it whole or in blocks, replay a record, preview, estimate the cost."""
