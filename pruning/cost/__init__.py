"""Flash, latency and multiply-accumulates of a graph as functions of its widths."""
