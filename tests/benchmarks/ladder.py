"""A ladder of eight budgets on CIFAR-10 (make bench-ladder ARGS="--folder PATH").

Three sweeps share one dense network: uniform width; the differentiable method from the dense
network; and the same with `continuation=true`, where every trial starts from the one before it
and trains for fewer epochs. A killed benchmark goes on where it was. Fronts are stored in
tests/benchmarks/results, and a table of them is printed; `--no-run` prints that of the stored ones.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import correlation, linear_regression
from typing import Any

from search.config.schema import StorageConfig
from search.results.report import study_record
from search.storage.workspace import open_workspace
from search.study.study import require_study
from tracking.explanation import EXPLANATION, Explanation, read_explanation
from tracking.records import RESOURCES, Limits, TrialRecord
from tracking.tables import duration, size

PARING = str(Path(sys.executable).with_name("paring"))
RESULTS = Path(__file__).parent / "results"
Front = Mapping[str, Any]  # as `paring front output=json` prints it, or one trial of it
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
    parser.add_argument("--folder", help="where CIFAR-10 is (data.folder)")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "paring" / "ladder")
    parser.add_argument("--no-run", action="store_true", help="only print the stored results")
    options = parser.parse_args()
    if not options.no_run:
        if options.folder is None:
            parser.error("--folder is needed, unless --no-run is given")
        run(options.folder, options.work)
    print(table({name: json.loads((RESULTS / f"{name}.json").read_text()) for name in SWEEPS}))


def run(folder: str, work: Path) -> None:
    """Make what is missing of the sweeps, store their fronts, and print what prices foresaw.

    Raises:
        SystemExit: a sweep has failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    ends = [lane.wait() for lane in [_begun(names, folder, work) for names in LANES]]
    if any(ends):
        raise SystemExit("a sweep failed; see above")
    for name in SWEEPS:
        front = [PARING, "front", f"study={name}", "output=json"]
        made = subprocess.run(front, cwd=work, capture_output=True, check=True)
        (RESULTS / f"{name}.json").write_bytes(made.stdout)
    workspace = open_workspace(StorageConfig(folder=str(work / ".paring")), create=False)
    trials = study_record(require_study(workspace, "cifar10-differentiable")).trials
    why = [read_explanation(workspace.store.read(trial.files[EXPLANATION])) for trial in trials]
    print(f"{foreseen(trials, why)}\n")


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


def table(fronts: Mapping[str, Front]) -> str:
    """Scores on validation (test in brackets) by budget; below, what each sweep took.

    A trial that another one of its sweep beats is on no front: its cell stays empty.
    """
    names = [name.removeprefix("cifar10-") for name in fronts]
    columns = [_by_budget(front) for front in fronts.values()]
    lines = [f"| budget: flash / SRAM / latency | {' | '.join(names)} |"]
    lines.append("|---|" + "---|" * len(columns))
    for budget in dict.fromkeys(budget for column in columns for budget in column):
        cells = [_score(column[budget]) if budget in column else "" for column in columns]
        lines.append(f"| {_limits(budget)} | {' | '.join(cells)} |")
    volumes = [f"{front['hypervolume']['value']:.4f}" for front in fronts.values()]
    lines.append(f"| hypervolume | {' | '.join(volumes)} |")
    costs = [relative_cost(front) for front in fronts.values()]
    cells = ["" if cost is None else f"{cost:.2f}" for cost in costs]
    lines.append(f"| training in all, dense = 1 | {' | '.join(cells)} |")
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


def relative_cost(front: Front) -> float | None:
    """Seconds of training, the dense network included, by those of the dense network; None where
    a trial is on no front, as its seconds are not known.
    """
    trials = front["front"]
    if len(trials) < sum(front["trials"].values()):
        return None
    seconds = sum(trial["train_seconds"] for trial in trials)
    return float(1 + seconds / front["dense"]["train_seconds"])


def _by_budget(front: Front) -> dict[Limits, Front]:
    trials = sorted(front["front"], key=lambda trial: trial["trial"])
    return {Limits(**trial["budget"]): trial for trial in trials}


def _limits(budget: Limits) -> str:
    flash, sram = size(budget.flash_bytes), size(budget.sram_bytes)
    return f"{flash} / {sram} / {duration(budget.latency_ms)}"


def _score(trial: Front) -> str:
    test = trial["test_score"]
    return f"{100 * trial['score']:.1f}" + ("" if test is None else f" ({100 * test:.1f})")


if __name__ == "__main__":
    main()
