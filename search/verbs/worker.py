"""`paring worker`: join a study from anywhere that reaches its databases and store."""

import logging

from omegaconf import DictConfig

from search import sweep, worker
from search.config import StorageConfig, checked_name, cross
from search.verb import verb


@verb("worker")
def main(config: DictConfig) -> None:
    """Run the verb."""
    storage = cross(config.storage, StorageConfig, "storage")
    name = checked_name(config.study)
    threads = sweep.threads_for(max(1, int(config.workers)), int(config.threads))
    logging.getLogger("paring").info("worker %s joins study %s", config.worker.index, name)
    with sweep.mirroring(storage, name):
        worker.work(storage, name, threads)
