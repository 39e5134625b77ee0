"""`paring worker`: join a study from anywhere that reaches its databases and store."""

import logging

from omegaconf import DictConfig

from search.api.running import join
from search.cli.app import verb

log = logging.getLogger("paring")


@verb("worker")
def main(config: DictConfig) -> None:
    """Run the verb."""
    reason = join(config)
    if reason is not None:
        log.info("worker %s has stopped: %s", config.worker.index, reason.value)
