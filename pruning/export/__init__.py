"""Trained networks as files: what they say of themselves, and the formats that others read."""
