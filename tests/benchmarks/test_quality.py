"""The benchmark of the pruning engine runs from end to end, goes on after a kill, and tells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruning.training.job import PhaseKind
from tests.benchmarks.quality.methods import METHODS, OURS
from tests.benchmarks.quality.problems import PROBLEMS, SHARED
from tests.benchmarks.quality.report import plot, table
from tests.benchmarks.quality.results import code_of
from tests.benchmarks.quality.setting import recipe

ROOT = Path(__file__).resolve().parents[2]


def test_phases_are_pieces_of_one_schedule():
    parts = [(PhaseKind.DENSE, 4), (PhaseKind.PRUNE, 3), (PhaseKind.FINETUNE, 3)]
    phases = recipe(parts, 0, 10)
    whole = recipe([(PhaseKind.DENSE, 10)], 0, 10)
    assert sum(phase.epochs for phase in phases) == 10
    assert whole[-1].lr_factor == (1.0, 0.0)
    assert phases[0].lr_factor == whole[0].lr_factor == (0.1, 1.0)
    begun = 1
    for phase in phases[1:]:
        for end, epoch in zip(phase.lr_factor, (begun, begun + phase.epochs), strict=True):
            assert end == pytest.approx(whole[1].lr_factor_at((epoch - 1) / 9))
        begun += phase.epochs
    later = recipe([(PhaseKind.FINETUNE, 6)], 4, 10)
    assert later[0].lr_factor[0] == pytest.approx(phases[1].lr_factor[1])


def test_the_table_pairs_runs_of_the_same_budget_and_seed(tmp_path):
    rows = [
        {"method": m, "budget": b, "seed": s, "validation": v, "seconds": 10.0 * n}
        for n, (m, b, s, v) in enumerate([
            (OURS, "B1", 0, 0.80), (OURS, "B1", 1, 0.84), (OURS, "B2", 0, 0.70),
            ("uniform", "B1", 0, 0.79), ("uniform", "B1", 1, 0.81), ("uniform", "B2", 0, 0.68),
            ("dense", "dense", 0, 0.9),
        ], 1)
    ]  # fmt: skip
    lines = table(rows, ["B1", "B2", "B3"], OURS, "validation").splitlines()
    uniform = next(line for line in lines if line.startswith("| uniform"))
    assert "80.00 ± 1.41 | 68.00 |" in uniform
    assert "+2.00 (-0.48 to +4.48)" in uniform  # 1, 3 and 2 points: 4.30 / sqrt(3) on each side
    assert uniform.rstrip().endswith("0.71 |")  # 40 and 60 of 70 seconds: seeds without dense out

    parts = {"bf16": rows, "fp32": rows}
    plot(parts, ["B1", "B2", "B3"], OURS, "validation", "title", tmp_path / "picture.svg")
    drawn = (tmp_path / "picture.svg").read_text()
    assert drawn.count("<!-- uniform -->") == 2  # a panel for each precision
    assert "<!-- +2.0 -->" in drawn  # the mean, written beside its point
    assert "<!-- dense -->" not in drawn


def test_results_stay_when_only_words_about_the_code_change():
    code = 'def f(x):\n    """Twice."""\n    return 2 * x  # exact\n'
    words = '"""More."""\n\n\ndef f(x):\n    """Two times."""\n\n    return (2 * x)\n'
    assert code_of(code) == code_of(words)
    assert code_of(code) != code_of(code.replace("2 *", "3 *"))
    assert code_of(code) != code_of(code.replace("return", "yield"))


@pytest.mark.exhaustive
@pytest.mark.skipif(
    not (SHARED / "cifar10").is_dir(), reason=f"no CIFAR-10 at {SHARED / 'cifar10'}"
)
@pytest.mark.timeout(900)  # nine processes, on a machine that may be slow
def test_a_smoke_run_fills_what_is_missing(tmp_path):
    results = tmp_path / "pruning.jsonl"
    env = {**os.environ, "PARING_BENCH_RESULTS": str(results), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.benchmarks.quality", "--setting", "smoke"]
    methods = [name for name in METHODS if name not in ("uniform", "global magnitude")]

    def bench(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    bench("--methods", *methods)
    whole = results.read_bytes()
    results.write_bytes(whole[:-40])  # a kill amid the last line
    picture = tmp_path / "picture.png"
    printed = bench("--methods", *methods, "--details", "--plot", str(picture))
    assert printed.count("begun:") == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = {}
    for line in results.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row["method"]] = row
    assert set(rows) == set(methods)
    assert "begun" not in bench("--methods", *methods)
    assert rows["paring's widths from scratch"]["widths"] == rows[OURS]["widths"]
    for name in methods:
        assert f"| {name} |" in printed
        if name != "dense":
            assert rows[name]["cost"]["macs"] <= 2_500_000
            widths = "-".join(map(str, rows[name]["widths"].values()))
            assert f"| {rows[name]['cost']['macs']:,} | {widths} |" in printed


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f"no data in {SHARED}")
@pytest.mark.parametrize("samples", [512, 20_000])
def test_fewer_samples_are_the_first_ones(samples):
    few = PROBLEMS["resnet8"].dataset(samples)
    sizes = [len(split) for split in (few.train, few.validation, few.test)]
    assert sizes == [samples, min(samples // 2, 5000), min(samples // 2, 10_000)]
