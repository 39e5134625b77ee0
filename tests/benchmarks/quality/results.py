"""Results as lines of JSON that are only ever appended, and the table made of them."""

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

import pruning

FOLDER = Path(__file__).resolve().parents[1] / "results"
FILE = Path(os.environ.get("PARING_BENCH_RESULTS", FOLDER / "pruning.jsonl"))
Row = Mapping[str, Any]
Key = tuple[str, str, str, str, int, str]


def engine_digest() -> str:
    """Of the code of the engine and of this benchmark's rules."""
    here = Path(__file__).parent
    files = sorted(Path(pruning.__path__[0]).rglob("*.py"))
    digest = hashlib.sha256()
    for file in (*files, *(here / f"{name}.py" for name in ("problems", "setting", "methods"))):
        digest.update(f"{file.name}\n{code_of(file.read_text())}\n".encode())
    return digest.hexdigest()[:16]


def code_of(source: str) -> str:
    """What runs of a source text: without comments, layout and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def key_of(row: Row) -> Key:
    """What a result is a result of."""
    return (
        row["problem"],
        row["setting"],
        row["method"],
        row["budget"],
        row["seed"],
        row["engine"],
    )


def read() -> list[Row]:
    """All results; a line that a kill has cut is left out."""
    rows = []
    for line in FILE.read_text().splitlines() if FILE.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def append(row: Row) -> None:
    """One line, whole or not at all for whoever reads it."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    whole = not FILE.exists() or FILE.read_bytes()[-1:] in (b"", b"\n")
    with FILE.open("ab") as file:
        file.write((b"" if whole else b"\n") + json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def table(rows: Iterable[Row], budgets: Sequence[str], ours: str, split: str) -> str:
    """A Markdown table of mean scores by budget, and the paired differences of ours to each.

    `split` is "validation" or "test". Differences are over budgets and seeds, with the 95 %
    interval of Student's t.
    """
    scores = {(r["method"], r["budget"], r["seed"]): r[split] for r in rows}
    seconds = {(r["method"], r["budget"], r["seed"]): r["seconds"] for r in rows}
    methods = list(dict.fromkeys(method for method, _, _ in scores))
    lines = [
        f"| method | {' | '.join(budgets)} | mean | paring is better by | seconds, dense = 1 |",
        "|---|" + "---|" * (len(budgets) + 3),
    ]
    for method in methods:
        cells = [
            _cell(v for (m, b, _), v in scores.items() if (m, b) == (method, budget))
            for budget in budgets
        ]
        own = [value for (m, _, _), value in scores.items() if m == method]
        pairs = [
            scores[ours, b, s] - value
            for (m, b, s), value in scores.items()
            if m == method != ours and (ours, b, s) in scores
        ]
        ratios = [
            value / seconds["dense", "dense", s]
            for (m, _, s), value in seconds.items()
            if m == method and ("dense", "dense", s) in seconds
        ]
        lines.append(
            f"| {method} | {' | '.join(cells)} | {100 * mean(own):.2f} | {_interval(pairs)} | "
            f"{f'{mean(ratios):.2f}' if ratios else ''} |"
        )
    return "\n".join(lines)


def _cell(values: Iterable[float]) -> str:
    found = list(values)
    spread = f" ± {100 * stdev(found):.2f}" if len(found) > 1 else ""
    return f"{100 * mean(found):.2f}{spread}" if found else ""


def _interval(differences: list[float]) -> str:
    if len(differences) < 2:
        return ""
    half = (
        student.ppf(0.975, len(differences) - 1) * stdev(differences) / sqrt(len(differences))
    )
    middle = mean(differences)
    return f"{100 * middle:+.2f} ({100 * (middle - half):+.2f} to {100 * (middle + half):+.2f})"
