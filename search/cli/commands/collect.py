"""`paring collect`: remove files from the store that no study names."""

import json
from dataclasses import asdict
from math import inf

from omegaconf import DictConfig

from search.cli.app import verb
from search.cli.options import choose, flag
from search.config.schema import StorageConfig
from search.config.validate import validated
from search.errors import ConfigError
from search.storage.workspace import open_workspace
from search.study.collect import Orphans, collect
from tracking.tables import size


@verb("collect")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    hours = config.older_h
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours < inf:
        raise ConfigError(f"older_h={hours}: a number of hours, at least 0")
    workspace = open_workspace(validated(config.storage, StorageConfig, "storage"), create=False)
    found = collect(workspace, 3600.0 * hours, flag(config.force, "force"))
    print(json.dumps(asdict(found), indent=1) if output == "json" else _said(found, hours))


def _said(found: Orphans, hours: float) -> str:
    removed = f"removed: {len(found.old)} files, {size(sum(e.size_bytes for e in found.old))}"
    young = f"; {len(found.young)} younger than {hours:g} h stay" if found.young else ""
    return removed + young
