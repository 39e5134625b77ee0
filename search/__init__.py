"""Sweeps: Hydra configs become Optuna studies whose trials prune a network as it trains."""
