"""One module a verb; each holds a Hydra app called `main`."""
