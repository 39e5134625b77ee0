"""Widths for a budget: importance, the convex programme, baselines, integer projection."""
