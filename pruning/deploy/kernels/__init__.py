"""The kernels of integer networks: one module each, joined in `registry`."""
