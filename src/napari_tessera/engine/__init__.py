"""Run a method: check the request, run it in memory or in blocks, replay a record, preview, estimate the cost."""
