"""The benchmark of the pruning engine against its peers (make bench-pruning).

python -m tests.benchmarks.quality --setting short --workers 2 --table test

Runs that are missing under the engine's present code are made, `workers` at a time with one
thread each; every finished one is a line in tests/benchmarks/results/pruning.jsonl, so that a
killed benchmark goes on where it was. Runs in bf16, where the processor is fast at it, and in
fp32 are never compared with each other: each precision has a table of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import torch

from pruning.budget import Budget
from pruning.training.job import fast_precision
from tests.benchmarks.quality.methods import AFTER_OURS, METHODS, OURS, Run
from tests.benchmarks.quality.problems import PROBLEMS, Problem
from tests.benchmarks.quality.report import details, limits, plot, seeds_of, table
from tests.benchmarks.quality.results import (
    Row,
    append,
    engine_digest,
    key_of,
    precision_of,
    read,
)
from tests.benchmarks.quality.setting import SETTINGS, Setting

LIKE_OURS = "uniform, filled"  # whose seconds an epoch decide how long "as long" is


def main() -> None:
    """Make what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, default="resnet8")
    parser.add_argument("--setting", choices=SETTINGS, default="short")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="*", type=int, help="all of the setting, or these")
    parser.add_argument("--budgets", nargs="*", help="all of the setting, or these names")
    parser.add_argument("--table", choices=("validation", "test"), default="validation")
    parser.add_argument("--no-run", action="store_true", help="only print the table")
    parser.add_argument("--engine", help="print what an earlier engine did, by its digest")
    parser.add_argument("--details", action="store_true", help="costs and widths of every run")
    parser.add_argument("--plot", type=Path, help="draw the differences: a .png or .svg file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    setting, problem = SETTINGS[options.setting], PROBLEMS[options.problem]
    seeds = setting.seeds if options.seeds is None else tuple(options.seeds)
    if options.one:
        method, budget, seed = options.one
        print(json.dumps(run_one(problem, setting, method, budget, int(seed))))
        return
    engine = options.engine or engine_digest()
    if not options.no_run and engine == engine_digest():
        places = setting.budgets
        if options.budgets is not None:
            names = list(problem.budgets)
            if unknown := set(options.budgets) - set(names):
                parser.error(f"no budget {unknown.pop()}: there are {', '.join(names)}")
            places = tuple(map(names.index, options.budgets))
        chosen = replace(setting, seeds=seeds, budgets=places)
        make(problem, chosen, options.methods, options.workers)
    wanted = (problem.name, setting.name, engine)
    rows = [r for r in read() if (r["problem"], r["setting"], r["engine"]) == wanted]
    rows = sorted((row for row in rows if row["seed"] in seeds), key=_place)
    budgets = list(problem.budgets)
    title = f"{problem.about}; {setting.epochs} epochs each"
    found = {p: [row for row in rows if precision_of(row) == p] for p in ("bf16", "fp32")}
    found = {precision: part for precision, part in found.items() if part}
    print(limits(problem.budgets), end="\n\n")
    for precision, part in found.items():
        print(f"{title}; {precision}, {seeds_of(part)}; {options.table} split\n")
        print(table(part, budgets, OURS, options.table), end="\n\n")
        if options.details:
            print(details(part), end="\n\n")
    if options.plot:
        plot(found, budgets, OURS, options.table, title, options.plot)


def make(problem: Problem, setting: Setting, methods: list[str], workers: int) -> None:
    """Every missing run in a process of its own. One that fails does not end the others.

    Raises:
        SystemExit: some have failed.
    """
    failed = []
    for stage in (
        [m for m in methods if m not in AFTER_OURS],
        [m for m in methods if m in AFTER_OURS],
    ):
        waiting = list(_missing(problem, setting, stage))
        running: list[tuple[subprocess.Popen[str], tuple[str, str, int]]] = []
        while waiting or running:
            while waiting and len(running) < workers:
                what = waiting.pop(0)
                running.append((_start(problem, setting, what), what))
                print("begun:", *what, f"({len(waiting)} waiting)", flush=True)
            for process, what in [pair for pair in running if pair[0].poll() is not None]:
                running.remove((process, what))
                if not _finish(process, what):
                    failed.append(what)
            time.sleep(0.5)
    if failed:
        raise SystemExit(f"failed, for reasons told above: {failed}")


def _missing(
    problem: Problem, setting: Setting, methods: list[str]
) -> Iterator[tuple[str, str, int]]:
    done, engine = {key_of(row) for row in read()}, engine_digest()
    precision = fast_precision(setting.device)
    for seed, method in product(setting.seeds, methods):
        for budget in (
            ("dense",)
            if method == "dense"
            else [list(problem.budgets)[place] for place in setting.budgets]
        ):
            key = (problem.name, setting.name, method, budget, seed, engine, precision)
            if key not in done:
                yield method, budget, seed


def _start(problem: Problem, setting: Setting, what: tuple[str, str, int]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.quality", "--problem", problem.name,
         "--setting", setting.name, "--one", *map(str, what)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _finish(process: subprocess.Popen[str], what: tuple[str, str, int]) -> bool:
    """Keep what a run found; whether it found anything."""
    printed = process.stdout.read() if process.stdout else ""
    if process.returncode:
        print("failed:", *what, f"with {process.returncode}", flush=True)
        return False
    row = json.loads(printed.splitlines()[-1])
    append(row)
    print("done:", *what, f"validation {100 * row['validation']:.2f}", flush=True)
    return True


def run_one(problem: Problem, setting: Setting, method: str, budget: str, seed: int) -> Row:
    """Train one network and say everything about it."""
    from pruning.training.train import evaluate

    torch.set_num_threads(1)
    data = problem.dataset(setting.samples)
    limits = problem.budgets.get(budget, Budget())
    run = Run(setting, problem, data, limits, seed, **_known(problem, setting, budget, seed))
    graph, tensors = METHODS[method](run)
    how = run.job(())
    cost = how.cost_model(graph).dense
    if budget != "dense" and not limits.holds(cost):
        raise SystemExit(f"{method} misses {budget}: {cost}")
    return {
        "problem": problem.name,
        "setting": setting.name,
        "method": method,
        "budget": budget,
        "seed": seed,
        "engine": engine_digest(),
        "validation": evaluate(graph, tensors, how, data.validation),
        "test": evaluate(graph, tensors, how, data.test),
        "seconds": round(run.seconds, 1),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "cost": asdict(cost),
        "widths": {group.name: group.size for group in graph.channels.groups if group.prunable},
        "epochs": [[e.phase, round(e.score, 4), round(e.seconds, 1)] for e in run.history],
        "torch": torch.__version__,
        "precision": how.accelerator.precision,
        "processor": _processor(setting.device),
    }


def _known(problem: Problem, setting: Setting, budget: str, seed: int) -> dict[str, object]:
    """What the runs that come after ours need of it: its widths, and how long "as long" is.

    That is told by the quickest of the seeds: other work on a machine only adds seconds.
    """
    wanted = (
        problem.name,
        setting.name,
        budget,
        engine_digest(),
        fast_precision(setting.device),
    )
    rows = [row for row in read() if _cell(row) == wanted]
    ours = {row["seed"]: row for row in rows if row["method"] == OURS}
    like = [row["seconds"] for row in rows if row["method"] == LIKE_OURS]
    if seed not in ours or not like:
        return {}
    longer = min(row["seconds"] for row in ours.values()) / min(like)
    return {"widths": ours[seed]["widths"], "epochs": round(setting.epochs * longer)}


def _cell(row: Row) -> tuple[str, ...]:
    """What runs share that differ in method and seed alone."""
    of = ("problem", "setting", "budget", "engine")
    return (*(row[name] for name in of), precision_of(row))


def _processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return str(torch.cpu.get_capabilities()["cpu_name"])


def _place(row: Row) -> tuple[int, str, int]:
    return (list(METHODS).index(row["method"]), row["budget"], row["seed"])


if __name__ == "__main__":
    main()
