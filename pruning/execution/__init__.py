"""Graphs run with torch: trained, scored, folded, calibrated."""
