"""`paring serve`: MLflow's own dashboard on the sweeps."""

from omegaconf import DictConfig

from search.api.serving import serve_from
from search.cli.app import verb


@verb("serve")
def main(config: DictConfig) -> None:
    """Run the verb."""
    serve_from(config)
