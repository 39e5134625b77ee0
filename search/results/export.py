"""A finished trial's model as files, with what there is to say about it."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pruning.deploy.backends.c_name import DEFAULT, checked_c_name
from pruning.errors import DeployError
from pruning.export.files import digest_at, write_all
from pruning.export.formats import FORMATS, Format, Source
from pruning.export.stored_model import MODEL
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.errors import StudyError
from search.results.report import run_ids
from search.study.study import Study
from tracking.mlflow.markdown import plain
from tracking.pages.evaluation import EVALUATION_PAGE, evaluation_page
from tracking.pages.why import FILES, PAGE, why_page
from tracking.records import StudyRecord, TrialRecord
from tracking.tables import dense_of, duration, front_object, size

SCHEMA = "paring.model/1"
ABOUT = "model.json"
EARLIER = (  # what versions wrote that did not note it
    ABOUT, MODEL, "README.md", "model.c", "model.h", "kernels.c", "kernels.h", "main.c",
    "CMakeLists.txt", "model.tflite", "model.onnx", PAGE,
)  # fmt: skip
TELLING = ("study", "trial", "score", "graph")  # models apart


def finished_trial(record: StudyRecord, number: int) -> TrialRecord:
    """The trial of a number, if it ended with a model.

    Raises:
        StudyError: there is no such trial, or it has no model.
    """
    found = next((trial for trial in record.trials if trial.number == number), None)
    if found is None or MODEL not in found.files:
        state = "does not exist" if found is None else f"is {found.state.value}"
        finished = [str(trial.number) for trial in record.trials if MODEL in trial.files]
        raise StudyError(
            f"trial={number}: this trial {state}; with a model: {', '.join(finished) or 'none yet'}"
        )
    return found


def write_model(
    study: Study, record: StudyRecord, trial: TrialRecord, out: Path, form: Format, name: str
) -> tuple[Path, ...]:
    """Write a trial's model, its description and a model card into a folder.

    Returns the files, each whole. All names of generated C begin with `name`. The network, in
    whatever form, that an earlier export has left there of another model, or by another name,
    goes; other forms of the same one stay. Nothing else is touched.

    Raises:
        OutputError: a file of somebody else is in the way.
    """
    content = study.workspace.store.read(trial.files[MODEL])
    network = unpack_network(content)
    described, before = describe(study, record, trial, network), _exported(out)
    same = all(before.get(key) == described[key] for key in TELLING)
    if same and not form.named:
        name = before["name"]  # of the C that stays
    usage = form.usage.format(name=name, NAME=name.upper())
    staying = set(before["files"]) if same and name == before["name"] else set()
    others = _of_others(form, name) | staying
    told = {**described, "name": name} | ({"files": sorted(others)} if others else {})
    files = {
        **form.files(network, content, Source(name, _origin(record, trial, name))),
        ABOUT: json.dumps(told, indent=1).encode(),
        "README.md": (model_card(record, trial, network) + usage).encode(),
    }
    old = _own(before["name"]) | set(before["files"]) if before else set[str]()
    stale = old - set(files) - (_own(name) | others if same else set())
    earlier = {f: digest for f in EARLIER if before and (digest := digest_at(out / f))}
    write_all(out, files, stale, earlier)
    return tuple(out / file for file in files)


def _origin(record: StudyRecord, trial: TrialRecord, name: str) -> tuple[str, ...]:
    """What generated C says of where it is from: the same whoever exports it, and where to."""
    return (
        "",
        f"Study {record.name}, trial {trial.number}, by paring {version('paring')}:",
        f"paring export study={record.name} trial={trial.number} format=c name={name}",
        f"{MODEL}: {trial.files[MODEL]}",
    )


def _exported(out: Path) -> dict[str, Any]:
    """What an earlier export said of the model in a folder; nothing if it cannot be told."""
    try:
        told = {"name": DEFAULT, "files": [], **json.loads((out / ABOUT).read_text("utf-8"))}
        told["files"] = [str(name) for name in told["files"]]
        checked_c_name(told["name"])
    except (OSError, ValueError, TypeError, DeployError):
        return {}
    known = told.get("schema") == SCHEMA and all(key in told for key in TELLING)
    return told if known else {}


def _own(name: str) -> set[str]:
    """The files that are a network's own, whatever its form of FORMATS."""
    return {PAGE, EVALUATION_PAGE}.union(*(form.own_files(name) for form in FORMATS.values()))


def _of_others(form: Format, name: str) -> set[str]:
    """The files that hold a network in a form that is none of FORMATS: they are noted."""
    return set() if form in FORMATS.values() else form.own_files(name)


def write_pages(
    study: Study, record: StudyRecord, trial: TrialRecord, out: Path
) -> tuple[Path, ...]:
    """Write the page that explains a trial's network into a folder, and the one on its answers
    where it has evaluations; returns them.

    Raises:
        DamagedError: what is stored does not explain it. StoreError: it is damaged or missing.
        OutputError: another page of that name is there.
    """
    store = study.workspace.store
    contents = {name: store.read(trial.files[name]) for name in FILES if name in trial.files}
    answers = EVALUATION_PAGE if trial.evaluations else None
    pages = {PAGE: why_page(record, trial, contents, answers)}
    if answers is not None:
        pages[answers] = evaluation_page(record, trial, PAGE)
    write_all(out, {name: page.encode() for name, page in pages.items()})
    return tuple(out / name for name in pages)


def describe(
    study: Study, record: StudyRecord, trial: TrialRecord, network: StoredNetwork
) -> dict[str, Any]:
    """Everything about a model but its weights, as JSON values."""
    whole = front_object(record, run_ids(study), (trial,))
    return {
        "schema": SCHEMA,
        "study": record.name,
        "metric": record.metric,
        "precision": record.precision,
        "dense": whole["dense"],
        **whole["front"][0],
        "input": {
            "shape": list(network.graph.input_shape),
            "mean": network.notes["mean"],
            "std": network.notes["std"],
        },
        "classes": network.notes["classes"],
        "data": network.notes["data"],
        "graph": network.graph.to_json(),
    }


def model_card(record: StudyRecord, trial: TrialRecord, network: StoredNetwork) -> str:
    """A page about one model, in Markdown."""
    costs, dense = trial.known_costs, dense_of(record, trial)
    rows = [("flash", size(costs.flash_bytes)), ("SRAM", size(costs.sram_bytes)),
            ("latency", duration(costs.latency_ms)), ("MACs", f"{costs.macs:,}")]  # fmt: skip
    if dense is not None:
        before = [size(dense.costs.flash_bytes), size(dense.costs.sram_bytes),
                  duration(dense.costs.latency_ms), f"{dense.costs.macs:,}"]  # fmt: skip
    else:
        before = [""] * 4
    device = record.device.name if record.device else "no device"
    table = "\n".join(f"| {n} | {v} | {b} |" for (n, v), b in zip(rows, before, strict=True))
    test = "not measured" if trial.test_score is None else f"{trial.test_score:.4f}"
    shape = "x".join(map(str, network.graph.input_shape))
    return f"""# {plain(record.name)}, trial {trial.number}

A network pruned while it trained. Costs are those for {plain(device)}.

- {plain(record.metric)}: {trial.score:.4f} on the validation split, {test} on the test split
  ({plain(record.precision)})
- data: {plain(network.notes["data"]["name"])}, targets: {_named(network.notes["classes"])}
- input: {shape}, normalised as (x - mean) / std with mean {network.notes["mean"]} and
  std {network.notes["std"]} per channel

| estimated cost | this model | unpruned |
|---|---|---|
{table}

"""


def _named(names: Sequence[str]) -> str:
    """The first few of some names, in Markdown."""
    shown = ", ".join(plain(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
