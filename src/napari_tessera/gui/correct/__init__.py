"""The widget Correct labels: tools that change labels by mouse, one operation after the other."""
