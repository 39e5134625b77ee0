"""Peak memory: which buffers live together, in which order, and where they lie."""
