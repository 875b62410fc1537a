"""What everything else is made of: axes, placement, jobs, results, labels, tiles, files and errors."""
