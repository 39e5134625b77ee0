"""Training under a budget: the loop, the prune phase, states and their files."""
