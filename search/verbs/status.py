"""`paring status`: how a sweep stands."""

import json

from omegaconf import DictConfig

from search.config import StorageConfig, checked_name, cross
from search.display import picture, wide_console
from search.home import open_home
from search.report import counts, failures
from search.study import require_study
from search.verb import verb
from search.verbs.choices import choose


@verb("status")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    name = checked_name(config.study)
    home = open_home(cross(config.storage, StorageConfig, "storage"), create=False)
    study = require_study(home, name)
    if output == "json":
        print(
            json.dumps(
                {"study": study.name, "trials": counts(study), "failures": failures(study)}
            )
        )
        return
    console = wide_console()
    console.print(picture(study))
    console.print(
        "  ".join(f"{state} {count}" for state, count in counts(study).items() if count)
    )
    for number, reason in failures(study).items():
        console.print(f"slot {number}: {reason}", markup=False)
