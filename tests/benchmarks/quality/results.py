"""Results as lines of JSON that are only ever appended."""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pruning

FOLDER = Path(__file__).resolve().parents[1] / "results"
FILE = Path(os.environ.get("PARING_BENCH_RESULTS", FOLDER / "pruning.jsonl"))
Row = Mapping[str, Any]
Key = tuple[str, str, str, str, int, str, str]


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
        precision_of(row),
    )


def precision_of(row: Row) -> str:
    """What the run computed in; the first results did not say: it was bf16."""
    return str(row.get("precision", "bf16"))


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
