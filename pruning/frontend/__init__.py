"""From a torch module to a graph, by `torch.export`."""
