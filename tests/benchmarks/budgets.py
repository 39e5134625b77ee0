"""Budgets that place themselves beside a fixed ladder (make bench-budgets), 24 trials each.

Five seeds of two problems: handwritten digits, and the angles by which they are turned; ResNet-8
with the hyperparameters of `space=rates`. Both ways of one seed share the dense network. A killed
benchmark goes on where it was; `--no-run` prints what is stored in tests/benchmarks/results.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise, product
from pathlib import Path
from statistics import fmean
from typing import Any

from search.config.schema import StorageConfig
from search.results.front import hypervolume, points_of
from search.storage.workspace import open_workspace
from search.study.placement import FLOOR
from search.study.scale import normalized_score
from search.study.study import Study, require_study

PARING = str(Path(sys.executable).with_name("paring"))
RESULTS = Path(__file__).parent / "results" / "budgets.json"
LADDER = "shares=[0.5,0.2,0.1,0.06,0.04,0.025,0.016,0.01]"
PROPORTIONS = ("budget.exponents.sram=0.4", "budget.exponents.latency=0.6")
WAYS: Mapping[str, Sequence[str]] = {
    "ladder": ("budget=ladder", LADDER),
    "auto": ("budget=auto",),
}
PROBLEMS: Mapping[str, Sequence[str]] = {
    "digits": ("experiment=demo",),
    "angle": ("experiment=angle", "space=rates"),
}
SEEDS = range(5)
Row = Mapping[str, Any]


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "paring" / "budgets")
    parser.add_argument("--no-run", action="store_true", help="only print the stored results")
    options = parser.parse_args()
    if not options.no_run:
        RESULTS.write_text(json.dumps(run(options.work), indent=1) + "\n")
    print(table(json.loads(RESULTS.read_text())))


def run(work: Path) -> list[Row]:
    """Every sweep, a row each.

    Raises:
        subprocess.CalledProcessError: a sweep has failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for problem, seed, way in product(PROBLEMS, SEEDS, WAYS):
        name = f"{problem}-{seed}-{way}"
        words = [*PROBLEMS[problem], *WAYS[way], *PROPORTIONS, f"seed={seed}", "trials=24"]
        command = [PARING, "sweep", f"study={name}", *words, "workers=2"]
        subprocess.run(command, cwd=work, check=True, stderr=subprocess.DEVNULL)
        workspace = open_workspace(StorageConfig(folder=str(work / ".paring")), create=False)
        rows.append({"problem": problem, "seed": seed, "way": way}
                    | measures(require_study(workspace, name)))  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def measures(study: Study) -> dict[str, float]:
    """A study's hypervolume, and the widest step of the normalized score on its front of flash,
    down to half of the best: what lies below counts as that half.
    """
    facts = study.facts
    points = points_of(study.trials(), facts.device_limits)
    gains = [normalized_score(p.score, facts.chance, facts.best) for p in points]
    best_so_far = accumulate(
        (gain for _, gain in sorted(zip((p.cost.flash_bytes for p in points), gains, strict=True))),
        max,
    )
    floor = FLOOR * max(gains)
    front = [floor, *(max(gain, floor) for gain in best_so_far)]
    return {
        "hypervolume": hypervolume(points, facts.dense_cost, facts.chance, facts.best),
        "widest_gap": max(high - low for low, high in pairwise(front)),
    }


def table(rows: Sequence[Row]) -> str:
    """Means over the seeds, and in how many of them `auto` is better."""
    lines = ["| problem | measure | ladder | auto | auto is better |", "|---|---|---|---|---|"]
    for problem, (measure, sign) in product(PROBLEMS, {"hypervolume": 1, "widest_gap": -1}.items()):
        by_way = {
            way: [row[measure] for row in rows if (row["problem"], row["way"]) == (problem, way)]
            for way in WAYS
        }
        means = " | ".join(f"{fmean(by_way[way]):.4f}" for way in WAYS)
        pairs = list(zip(by_way["ladder"], by_way["auto"], strict=True))
        better = sum(sign * auto > sign * ladder for ladder, auto in pairs)
        lines.append(f"| {problem} | {measure} | {means} | {better} of {len(pairs)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
