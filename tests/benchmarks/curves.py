"""Learning curves of a finished study, stored so that early stopping can be tried on them.

python -m tests.benchmarks.curves                                   # what it saves on them
python -m tests.benchmarks.curves --folder .paring --study NAME     # the table of a study

`replay` runs the trials again without training them: four workers take them in order, every
epoch takes one tick, and a trial ends where the rungs say so.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from pruning.budget import Budget, Cost
from search.config.schema import StoppingConfig, StorageConfig
from search.results.front import Point, hypervolume
from search.results.report import study_record
from search.storage.workspace import open_workspace
from search.study.pruner import RungPruner, RungReport
from search.study.scale import normalized_score
from search.study.study import Study, require_study

RESULTS = Path(__file__).parent / "results"
RUNGS = Path(__file__).resolve().parents[2] / "conf" / "stopping" / "rungs.yaml"
WORKERS = 4
Curve = Mapping[str, Any]


def main() -> None:
    """Print what early stopping saves, or the table of one study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="the study's storage.folder")
    parser.add_argument("--study")
    options = parser.parse_args()
    if options.study is None:
        table = json.loads((RESULTS / "curves-digits.json").read_text())
        print(_told(*with_and_without(table)))
    else:
        workspace = open_workspace(StorageConfig(folder=options.folder), create=False)
        print(_table(require_study(workspace, options.study)))


def _table(study: Study) -> str:
    curves = [
        {
            "budget": {k: v for k, v in asdict(trial.budget).items() if v is not None},
            "params": dict(trial.params),
            "scores": [round(row.score, 5) for row in trial.epochs],
            "cost": asdict(trial.costs),
        }
        for trial in study_record(study).trials
        if trial.costs is not None
    ]
    dense = asdict(study.facts.dense_cost)
    facts = {"chance": study.facts.chance, "best": study.facts.best, "dense_cost": dense}
    lines = ",\n".join(json.dumps(curve) for curve in curves)
    return f'{{"facts": {json.dumps(facts)}, "curves": [\n{lines}\n]}}'


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a study came to: epochs trained, trials ended early, and its hypervolume."""

    epochs: int
    stopped: int
    hypervolume: float


def with_and_without(table: Mapping[str, Any]) -> tuple[Replayed, Replayed]:
    """A table of curves replayed to their ends, and with the rungs of `stopping=rungs`."""
    rungs = RungPruner.of(StoppingConfig(**yaml.safe_load(RUNGS.read_text())))
    facts, curves = table["facts"], table["curves"]
    return replay(facts, curves, RungPruner((), 0.0, 2)), replay(facts, curves, rungs)


def _told(whole: Replayed, early: Replayed) -> str:
    epochs, volume = early.epochs / whole.epochs, early.hypervolume / whole.hypervolume
    return (
        f"{early.epochs} of {whole.epochs} epochs ({epochs:.0%}) and {volume:.1%} of the "
        f"hypervolume, with {early.stopped} trials stopped"
    )


def replay(facts: Mapping[str, Any], curves: Sequence[Curve], rungs: RungPruner) -> Replayed:
    """The study again, with trials ended by the rungs; their order is that of the table."""
    waiting, at_work = list(enumerate(curves)), dict[int, int]()
    arrived: dict[int, list[RungReport]] = {}
    points, epochs, stopped = [], 0, 0
    while waiting or at_work:
        while waiting and len(at_work) < WORKERS:
            at_work[waiting.pop(0)[0]] = 0
        for number in list(at_work):
            curve = curves[number]
            at_work[number] += 1
            epochs += 1
            done, of = at_work[number], len(curve["scores"])
            if done == of:
                del at_work[number]
                points.append(Point(number, curve["scores"][-1], Cost(**curve["cost"]), True))
            elif _ends(number, curve, done, arrived, facts, rungs):
                del at_work[number]
                stopped += 1
    dense = Cost(**facts["dense_cost"])
    return Replayed(epochs, stopped, hypervolume(points, dense, facts["chance"], facts["best"]))


def _ends(
    number: int,
    curve: Curve,
    epoch: int,
    arrived: dict[int, list[RungReport]],
    facts: Mapping[str, Any],
    rungs: RungPruner,
) -> bool:
    rung = rungs.at(epoch, len(curve["scores"]))
    if rung is None:
        return False
    own = RungReport(
        number,
        Budget(**curve["budget"]),
        normalized_score(curve["scores"][epoch - 1], facts["chance"], facts["best"]),
    )
    others = arrived.setdefault(rung, [])
    others.append(own)
    return rungs.better(own, others) is not None


if __name__ == "__main__":
    main()
