"""The doors of the engine for people: inspect a network, prune it, take the result along."""
