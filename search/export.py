"""A finished slot's model as files, with what there is to say about it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.checkpoint import StoredNetwork, unpack_network
from search.errors import StudyError
from search.files import write_whole
from search.formats import FORMATS, MODEL
from search.report import run_ids
from search.study import Study
from tracking.records import SlotRecord, StudyRecord
from tracking.tables import duration, front_object, size
from tracking.why import FILES, PAGE, why_page

TELLING = ("schema", "study", "trial", "score", "graph")  # models apart


def finished_slot(record: StudyRecord, number: int) -> SlotRecord:
    """The slot of a number, if it ended with a model.

    Raises:
        StudyError: there is no such slot, or it has no model.
    """
    found = next((slot for slot in record.slots if slot.number == number), None)
    if found is None or MODEL not in found.files:
        state = "does not exist" if found is None else f"is {found.state.value}"
        finished = [str(slot.number) for slot in record.slots if MODEL in slot.files]
        raise StudyError(
            f"trial={number}: this slot {state}; "
            f"with a model: {', '.join(finished) or 'none yet'}"
        )
    return found


def write_model(
    study: Study, record: StudyRecord, slot: SlotRecord, out: Path, form: str
) -> tuple[Path, ...]:
    """Write a slot's model, its description and a model card into a folder.

    Returns the files, each whole. `form` is one of FORMATS. The network, in whatever form, that
    an earlier export has left there of another model goes first; other forms of the same one
    stay.
    """
    content = study.home.store.read(slot.files[MODEL])
    network = unpack_network(content)
    described = describe(study, record, slot, network)
    files = {
        **FORMATS[form].files(network, content),
        "model.json": json.dumps(described, indent=1).encode(),
        "README.md": (model_card(record, slot, network) + FORMATS[form].usage).encode(),
    }
    for name in _of_another(out, described) - set(files):
        (out / name).unlink()
    for name, data in files.items():
        write_whole(out / name, data)
    return tuple(out / name for name in files)


def _of_another(out: Path, described: Mapping[str, Any]) -> set[str]:
    """The files in a folder that an export wrote of another model than this one."""
    try:
        before = json.loads((out / "model.json").read_text("utf-8"))
        told = [[each[key] for key in TELLING] for each in (before, described)]
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # none was exported here, or nobody can tell what
    if told[0] == told[1] or before["schema"] != described["schema"]:
        return set()
    own = {PAGE, *(name for form in FORMATS.values() for name in form.own)}
    return {name for name in own if (out / name).is_file()}


def write_why(study: Study, record: StudyRecord, slot: SlotRecord, out: Path) -> Path:
    """Write the page that explains a slot's network into a folder; returns it.

    Raises:
        DamagedError: what is stored does not explain it. StoreError: it is damaged or missing.
    """
    store = study.home.store
    contents = {name: store.read(slot.files[name]) for name in FILES if name in slot.files}
    write_whole(out / PAGE, why_page(record, slot, contents).encode())
    return out / PAGE


def describe(
    study: Study, record: StudyRecord, slot: SlotRecord, network: StoredNetwork
) -> dict[str, Any]:
    """Everything about a model but its weights, as JSON values."""
    whole = front_object(record, run_ids(study), (slot,))
    return {
        "schema": "paring.model/1",
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


def model_card(record: StudyRecord, slot: SlotRecord, network: StoredNetwork) -> str:
    """A page about one model, in Markdown."""
    costs, dense = slot.known_costs, record.dense
    rows = [("flash", size(costs.flash_bytes)), ("SRAM", size(costs.sram_bytes)),
            ("latency", duration(costs.latency_ms)), ("MACs", f"{costs.macs:,}")]  # fmt: skip
    if dense is not None:
        before = [size(dense.costs.flash_bytes), size(dense.costs.sram_bytes),
                  duration(dense.costs.latency_ms), f"{dense.costs.macs:,}"]  # fmt: skip
    else:
        before = [""] * 4
    device = record.device.name if record.device else "no device"
    table = "\n".join(f"| {n} | {v} | {b} |" for (n, v), b in zip(rows, before, strict=True))
    test = "not measured" if slot.test_score is None else f"{slot.test_score:.4f}"
    shape = "x".join(map(str, network.graph.input_shape))
    return f"""# {record.name}, slot {slot.number}

A network pruned while it trained. Costs are those for {device}.

- {record.metric}: {slot.score:.4f} on the validation split, {test} on the test split
  ({record.precision})
- data: {network.notes["data"]["name"]}, targets: {_named(network.notes["classes"])}
- input: {shape}, normalised as (x - mean) / std with mean {network.notes["mean"]} and
  std {network.notes["std"]} per channel

| estimated cost | this model | unpruned |
|---|---|---|
{table}

"""


def _named(names: Sequence[str]) -> str:
    """The first few of some names."""
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
