"""From Hydra configs to checked values and live objects."""
