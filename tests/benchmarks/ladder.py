"""A ladder of eight budgets on CIFAR-10 (make bench-ladder ARGS="--folder PATH").

Three sweeps share one dense network: uniform width; the differentiable method from the dense
network; and the same with `continuation=true`, where every trial starts from the one before it
and trains for fewer epochs. A killed benchmark goes on where it was. Fronts are stored in
tests/benchmarks/results, and the table is printed.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import correlation, linear_regression

from search.config.schema import StorageConfig
from search.results.report import study_record
from search.storage.workspace import open_workspace
from search.study.study import require_study
from tracking.explanation import EXPLANATION, Explanation, read_explanation
from tracking.records import RESOURCES, Limits, StudyRecord, TrialRecord
from tracking.tables import duration, size

PARING = str(Path(sys.executable).with_name("paring"))
RESULTS = Path(__file__).parent / "results"
LONG = ("method.phases.prune_epochs=3", "method.phases.finetune_epochs=9")
SHORT = ("method.phases.prune_epochs=1", "method.phases.finetune_epochs=4")
SWEEPS: Mapping[str, Sequence[str]] = {
    "cifar10-uniform": ("method=uniform", *LONG),
    "cifar10-differentiable": LONG,
    "cifar10-continued": ("continuation=true", *SHORT),
}


LANES = (("cifar10-uniform", "cifar10-continued"), ("cifar10-differentiable",))


def main() -> None:
    """Run what is missing, two sweeps at a time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, help="where CIFAR-10 is (data.folder)")
    parser.add_argument("--work", default=Path.home() / ".cache" / "paring" / "ladder")
    options = parser.parse_args()
    work = Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    ends = [lane.wait() for lane in [_begun(names, options.folder, work) for names in LANES]]
    if any(ends):
        raise SystemExit("a sweep failed; see above")
    for name in SWEEPS:
        front = [PARING, "front", f"study={name}", "output=json"]
        made = subprocess.run(front, cwd=work, capture_output=True, check=True)
        (RESULTS / f"{name}.json").write_bytes(made.stdout)
    workspace = open_workspace(StorageConfig(folder=str(work / ".paring")), create=False)
    studies = {name: study_record(require_study(workspace, name)) for name in SWEEPS}
    print(table(studies))
    trials = studies["cifar10-differentiable"].trials
    why = [read_explanation(workspace.store.read(trial.files[EXPLANATION])) for trial in trials]
    print(f"\n{foreseen(trials, why)}")


def _begun(names: Sequence[str], folder: str, work: Path) -> subprocess.Popen[bytes]:
    """Sweeps one after the other, in a process of their own."""
    lines = [
        shlex.join(
            [PARING, "sweep", f"study={name}", "experiment=cifar10", f"data.folder={folder}",
             "accelerator.threads=1", *SWEEPS[name]]
        )
        for name in names
    ]  # fmt: skip
    return subprocess.Popen(["sh", "-c", " && ".join(lines)], cwd=work)


def table(studies: Mapping[str, StudyRecord]) -> str:
    """Scores on validation (test in brackets) by budget; below, what each sweep took."""
    names = [name.removeprefix("cifar10-") for name in studies]
    columns = [_by_budget(study) for study in studies.values()]
    lines = [f"| budget: flash / SRAM / latency | {' | '.join(names)} |"]
    lines.append("|---|" + "---|" * len(columns))
    for budget in columns[0]:
        cells = [_score(column[budget]) for column in columns]
        lines.append(f"| {_limits(budget)} | {' | '.join(cells)} |")
    volumes = [f"{study.hypervolumes[-1]:.4f}" for study in studies.values()]
    lines.append(f"| hypervolume | {' | '.join(volumes)} |")
    costs = [f"{relative_cost(study):.2f}" for study in studies.values()]
    lines.append(f"| training in all, dense = 1 | {' | '.join(costs)} |")
    return "\n".join(lines)


def foreseen(trials: Sequence[TrialRecord], why: Sequence[Explanation]) -> str:
    """What the prices of the limits foresee from each budget to the next, and what was seen.

    Foreseen: the rise of the modelled loss, by prices halfway between the two budgets. Seen:
    the fall of the score, in points. Prices are true if both are in proportion.
    """
    lines = ["| from trial | to | modelled loss rises by | score falls by |", "|---" * 4 + "|"]
    rises, falls = [], []
    for (looser, above), (tighter, below) in pairwise(zip(trials, why, strict=True)):
        rises.append(_rise(looser.budget, tighter.budget, above, below))
        falls.append(100 * ((looser.score or 0.0) - (tighter.score or 0.0)))
        pair = f"| {looser.number} | {tighter.number} "
        lines.append(f"{pair}| {rises[-1]:.4f} | {falls[-1]:.2f} |")
    slope = linear_regression(rises, falls, proportional=True).slope
    lines.append(
        f"\n{slope:.1f} points by one of loss; correlation {correlation(rises, falls):.2f}"
    )
    return "\n".join(lines)


def _rise(loose: Limits, tight: Limits, above: Explanation, below: Explanation) -> float:
    pairs = {name: (getattr(loose, name), getattr(tight, name)) for name in RESOURCES}
    return sum(
        (above.prices[name] * high + below.prices[name] * low) / 2 * log(high / low)
        for name, (high, low) in pairs.items()
        if high is not None and low is not None
    )


def relative_cost(study: StudyRecord) -> float:
    """Seconds of training, the dense network included, by those of the dense network."""
    assert study.dense is not None
    assert study.dense.train_seconds is not None
    return 1 + sum(trial.train_seconds for trial in study.trials) / study.dense.train_seconds


def _by_budget(study: StudyRecord) -> dict[Limits, TrialRecord]:
    return {trial.budget: trial for trial in study.trials}


def _limits(budget: Limits) -> str:
    flash, sram = size(budget.flash_bytes), size(budget.sram_bytes)
    return f"{flash} / {sram} / {duration(budget.latency_ms)}"


def _score(trial: TrialRecord) -> str:
    test = "" if trial.test_score is None else f" ({100 * trial.test_score:.1f})"
    return "" if trial.score is None else f"{100 * trial.score:.1f}{test}"


if __name__ == "__main__":
    main()
