"""`paring collect`: remove files from the store that no study names."""

import json
from dataclasses import asdict

from omegaconf import DictConfig

from search.api.tidying import collected
from search.cli.app import verb
from search.cli.options import choose
from search.study.collect import Orphans
from tracking.tables import size


@verb("collect")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    found = collected(config)
    print(json.dumps(asdict(found), indent=1) if output == "json" else _said(found, config.older_h))


def _said(found: Orphans, hours: float) -> str:
    removed = f"removed: {len(found.old)} files, {size(sum(e.size_bytes for e in found.old))}"
    young = f"; {len(found.young)} younger than {hours:g} h stay" if found.young else ""
    return removed + young
