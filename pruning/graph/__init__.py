"""Networks as graphs: which channels belong together, which operators fuse, how they shrink."""
