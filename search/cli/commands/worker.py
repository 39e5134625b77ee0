"""`paring worker`: join a study from anywhere that reaches its databases and store."""

import logging

from omegaconf import DictConfig

from search.cli.app import verb
from search.config.parse import call_from
from search.config.schema import StorageConfig
from search.config.validate import validated
from search.storage.workspace import open_workspace
from search.study.study import require_study
from search.worker import pool, worker

log = logging.getLogger("paring")


@verb("worker")
def main(config: DictConfig) -> None:
    """Run the verb."""
    storage = validated(config.storage, StorageConfig, "storage")
    call = call_from(config)
    threads = pool.threads_for(call.workers, call.threads)
    require_study(open_workspace(storage, create=False), call.study)
    log.info("worker %s joins study %s", config.worker.index, call.study)
    with pool.mirroring(storage, call.study):
        reason = worker.work(storage, call.study, threads)
    if reason is not None:
        log.info("worker %s has stopped: %s", config.worker.index, reason.value)
