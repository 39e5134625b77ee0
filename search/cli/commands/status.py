"""`paring status`: how a sweep stands."""

import json
import time
from dataclasses import asdict

from omegaconf import DictConfig
from rich.live import Live

from search.api.opened import study_of
from search.api.progress import picture
from search.cli.app import verb
from search.cli.display import wide_console
from search.cli.options import choose
from search.config.parse import flag
from search.results.status import study_status
from search.storage.outage import tolerated
from search.study.study import Study

REFRESH_S = 2.0


@verb("status")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    study = study_of(config)
    if flag(config.watch, "watch"):
        _follow(study)
    elif output == "json":
        print(json.dumps(asdict(study_status(study))))
    else:
        wide_console().print(picture(study))


def _follow(study: Study) -> None:
    """Refresh the picture until the study is over."""
    with Live(picture(study), console=wide_console(), auto_refresh=False) as live:
        while not study.over():
            time.sleep(REFRESH_S)
            with tolerated("the display waits"):
                live.update(picture(study), refresh=True)
