"""What is told of a study: read once, with texts from outside as texts, and by one measure."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from markdown_it import MarkdownIt

from pruning.budget import Budget, Cost
from pruning.catalogue.devices import devices
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.choices import Choices
from search.results.front import best_within, points_of
from search.results.histories import Histories
from search.results.mlflow_sync import mirror_once
from search.results.report import study_record
from search.results.retarget import record_for
from search.results.status import study_status
from search.storage.blobs import Folder, Store
from search.storage.outcome import Dominated
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.study import Study, require_study
from search.study.study_record import Measurement
from search.study.trials import claim
from search.worker.run_trial import tell
from search.worker.worker import work
from tests.search.commands import Commands, running, until
from tests.tracking.outline import EVIL, Outline
from tracking.mlflow.client import Client
from tracking.mlflow.mirror import Mirror
from tracking.records import State

pytestmark = pytest.mark.slow  # all need studies that were worked on
Paring = Callable[..., tuple[int, str, str]]
CLASSES = ("cat\n# heading", "[x](javascript:alert(1))", EVIL, "a|b", *"fghijk")
DATA = f"""
from pathlib import Path
from dataclasses import replace
from pruning.catalogue.devices import devices
from pruning.data import synthetic

def data(train):
    with Path(__file__).with_name("calls").open("a") as calls:
        calls.write("called\\n")
    return replace(synthetic(train=train), name={EVIL!r}, classes={CLASSES!r})
"""
MARGINS = ("++device.flash_margin=10%", "++device.latency_margin=25%")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a module of data, from which the tests of this file run."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd_data.py").write_text(DATA)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def workspace(folder: Path) -> Workspace:
    return open_workspace(StorageConfig(folder=str(folder / ".paring"), checkpoint_s=0))


@pytest.fixture(scope="module")
def odd(workspace: Workspace, compose_spec: Callable[..., Spec], tiny: list[str]) -> Study:
    """A finished study of two trials whose data and device have names that would be more."""
    spec = compose_spec(
        *tiny, *MARGINS, "data._target_=odd_data.data", f"device.name={json.dumps(EVIL)}",
        "shares=[0.6,0.4]",
    )  # fmt: skip
    study = create.prepare(workspace, "odd", spec, None)
    work(workspace.config, "odd", threads=1)
    assert [trial.score is not None for trial in study_record(study).trials] == [True, True]
    return study


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    monkeypatch.chdir(folder)
    return folder


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


# --- read once


def test_all_models_are_verified_with_data_that_are_loaded_once(
    paring: Paring, here: Path, odd: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = [trial for trial in study_record(odd).trials if trial.planes]
    assert len(front) > 1
    before = calls(here)
    monkeypatch.setenv("PATH", "/nowhere")  # no compiler: what it begins with is all it does
    code, _, err = paring("verify", "study=odd", "workers=1")
    assert (code, calls(here)) == (2, before + 1)
    assert "arm-none-eabi" in err


class Reads:
    """The blobs that this process opens, told by the interpreter itself."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.on = True
        sys.addaudithook(self._hear)  # for ever, so that it can be silenced

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "open" and "/store/" in str(arguments[0]):
            self.paths.append(str(arguments[0]))


@pytest.fixture
def reads() -> Iterator[Reads]:
    heard = Reads()
    yield heard
    heard.on = False


def test_a_pass_of_the_mirror_reads_what_it_has_not_read_before(
    workspace: Workspace, odd: Study, reads: Reads
) -> None:
    mirror = Mirror(workspace.tracking_uri, workspace.artifacts)
    histories, choices = Histories(workspace.store), Choices(odd)
    mirror_once(odd, mirror, histories, choices)
    assert reads.paths  # the first one: epochs, networks and artifacts
    reads.paths.clear()
    for _ in range(3):
        mirror_once(odd, mirror, histories, choices)
    assert reads.paths == []


class Counted:
    """A store's backend that notes what is read."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.read: list[str] = []

    def open_reader(self, artifact_id: str) -> BinaryIO:
        self.read.append(artifact_id)
        return self._folder.open_reader(artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._folder.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        self._folder.remove(artifact_id)


@pytest.mark.parametrize(("most", "reads"), [(1000, [1, 1]), (2, [1, 2]), (0, [2, 2])])
def test_so_many_epochs_are_kept_and_no_more(
    workspace: Workspace, odd: Study, most: int, reads: list[int]
) -> None:
    backend = Counted(Folder(workspace.folder / "store"))
    histories, trials = Histories(Store(backend), most), odd.trials()
    first = histories.of(trials)
    assert [len(first[trial.number]) for trial in trials] == [2, 2]  # one of each phase
    assert histories.of(trials) == first
    digests = [trial.user_attrs["result"]["files"]["epochs.json"] for trial in trials]
    assert [backend.read.count(digest) for digest in digests] == reads


def test_epochs_of_trials_that_are_not_asked_for_are_forgotten(
    workspace: Workspace, odd: Study
) -> None:
    backend = Counted(Folder(workspace.folder / "store"))
    histories, trials = Histories(Store(backend)), odd.trials()
    for asked in (trials, trials[:1], trials):
        histories.of(asked)
    digests = [trial.user_attrs["result"]["files"]["epochs.json"] for trial in trials]
    assert [backend.read.count(digest) for digest in digests] == [1, 2]


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_lost_epochs_are_told_once(
    workspace: Workspace, odd: Study, caplog: pytest.LogCaptureFixture, damage: str, tmp_path: Path
) -> None:
    store, trial = Store(Folder(tmp_path)), odd.trials()[0]
    digest = trial.user_attrs["result"]["files"]["epochs.json"]
    if damage == "damaged":
        store.put(workspace.store[digest])
        (tmp_path / digest[:2] / digest[2:]).write_text("[]")
    histories = Histories(store)
    with caplog.at_level(logging.WARNING, "paring"):
        assert histories.of([trial]) == {0: ()}
        assert histories.of([trial]) == {0: ()}
    (said,) = caplog.messages
    assert said.startswith("trial 0: the record of its epochs is lost, so its curves are missing: ")
    assert ("not in the store" if damage == "gone" else "is damaged") in said
    store.put(workspace.store[digest])  # what comes back is read
    assert len(histories.of([trial])[0]) == 2


def test_a_checkpoint_that_went_with_its_trial_is_no_loss(
    workspace: Workspace, tiny_spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    study = create.prepare(workspace, "stopped", tiny_spec, 1)
    trial = claim(study)
    assert trial is not None
    trial.set_user_attr("checkpoint", workspace.store.put(b"a state"))
    assert tell(study, trial, Dominated("another was better"))
    with caplog.at_level(logging.WARNING, "paring"):
        (trial,) = study_record(study).trials
    assert (trial.state, trial.epochs) == (State.STOPPED, ())
    assert [record for record in caplog.records if record.name.startswith("paring")] == []


class Typed(Spec):
    """A spec that counts how often it is validated."""

    times = 0

    def typed(self) -> Any:
        Typed.times += 1
        return super().typed()


def test_the_spec_is_validated_once_for_all_trials_that_were_measured(
    workspace: Workspace, odd: Study
) -> None:
    study = require_study(workspace, "odd")
    measured = Measurement(
        flash_bytes=9, sram_bytes=9, instructions=9, core="cortex-m4", stack_bytes=9, results=9,
        mismatches=0,
    )  # fmt: skip
    study.note(measured=dict.fromkeys((0, 1), measured))
    study.spec, Typed.times = Typed(study.spec.values), 0
    record = study_record(study)
    assert all(trial.measured for trial in record.trials)
    assert Typed.times == 1
    for number in (0, 1):
        study.optuna.set_user_attr(f"measured/{number}", None)


# --- texts from outside


def test_the_readme_beside_a_model_shows_hostile_names_as_they_are(
    paring: Paring, here: Path, odd: Study
) -> None:
    assert paring("export", "study=odd", "trial=0", "out=card")[0] == 0
    text = (here / "card" / "README.md").read_text()
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown.validateLink = bool  # type: ignore[method-assign]
    tokens = [t for block in markdown.parse(text) for t in (block, *(block.children or []))]
    assert [t.type for t in tokens if t.type in ("heading_open", "html_inline", "html_block",
            "link_open", "image")] == ["heading_open"]  # fmt: skip
    (heading,) = (tokens[i + 1] for i, t in enumerate(tokens) if t.type == "heading_open")
    assert heading.content == "odd, trial 0"
    words = "".join(t.content for t in tokens if t.type == "text")
    for name in (EVIL, *(" ".join(name.split()) for name in CLASSES)):
        assert name in words


def test_pages_show_hostile_names_as_they_are(paring: Paring, here: Path, odd: Study) -> None:
    paring("export", "study=odd", "trial=0", "out=trial-0")
    paring("front", "study=odd", "output=html", "out=front.html")
    for page in ("trial-0/why.html", "front.html"):
        elements = Outline((here / page).read_text()).elements
        assert [
            tag for tag, attributes in elements if tag == "img" or "onerror" in attributes
        ] == []
        scripts = sum(tag == "script" for tag, _ in elements)
        assert scripts == (3 if page == "front.html" else 0)


# --- which one for a chip


def test_what_the_front_names_for_a_chip_is_what_pick_gives(
    paring: Paring, here: Path, odd: Study
) -> None:
    record = study_record(odd)
    assert len(record.picks) == len(devices()) + 1
    for pick in (
        record.picks[0],
        record.picks[-1],
        *(p for p in record.picks if "budget" in p.words),
    ):
        code, out, err = paring("pick", "study=odd", *pick.words.split(), "register=false")
        assert code == 0, err
        assert out.startswith(f"trial {pick.trial}: ")


@pytest.mark.parametrize("device", devices(), ids=lambda device: device.name)
def test_a_chip_of_another_core_is_judged_by_its_own_costs(odd: Study, device: Any) -> None:
    ported = record_for(odd, device)
    points = [
        replace(point, cost=Cost(**asdict(costs)))
        for point in points_of(odd.trials(), odd.facts.device_limits)
        if (costs := ported.trials[point.number].costs) is not None
    ]
    (pick,) = (p for p in study_record(odd).picks if p.device.name == device.name)
    assert pick.trial == best_within(points, device.budget, True).number


def test_the_front_links_to_the_pages_that_lie_beside_it(
    paring: Paring, here: Path, odd: Study
) -> None:
    def links() -> list[str | None]:
        paring("front", "study=odd", "output=html", "out=linked/front.html")
        page = Outline((here / "linked" / "front.html").read_text())
        return sorted({attributes["href"] for tag, attributes in page.elements if tag == "a"})

    (here / "linked").mkdir()
    assert links() == []
    paring("export", "study=odd", "trial=1", "out=linked/trial-1")
    assert links() == ["trial-1/evaluation.html", "trial-1/why.html"]
    (here / "linked" / "trial-1").rename(here / "linked" / "trial-0")  # of another trial
    assert links() == []


# --- one measure


def test_status_and_mlflow_tell_the_same_shares_of_the_budget_that_was_asked_for(
    tmp_path: Path, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    storage = StorageConfig(folder=str(tmp_path / ".paring"), checkpoint_s=0, heartbeat_s=1)
    workspace = open_workspace(storage)
    spec = compose_spec(*tiny, *MARGINS, "method.phases.finetune_epochs=400", "shares=[0.5]")
    study = create.prepare(workspace, "s", spec, None)
    commands = Commands(storage, tmp_path)
    try:
        process = commands.start("worker")
        until("an epoch of fine-tuning", process, lambda: _finetuned(study))
        worker = study_status(study).workers[0]
        process.terminate()
        process.wait()
    finally:
        commands.stop()
    mirror_once(study, Mirror(workspace.tracking_uri, workspace.artifacts))
    client = Client(workspace.tracking_uri)
    (run,) = study.notes().runs.values()
    assert worker.shares
    for name, share in worker.shares.items():
        metric = f"{name.partition('_')[0]}_budget_share"
        with client.answering():
            history = client.api.get_metric_history(run, metric)
        assert {point.step: point.value for point in history}[worker.epoch] == share
    assert worker.shares["latency_ms"] <= 1 / 1.25
    assert worker.shares["flash_bytes"] <= 1 / 1.1


def _finetuned(study: Study) -> bool:
    trial = running(study)
    return trial is not None and trial.user_attrs["progress"]["phase"] == "finetune"


def test_a_margin_is_the_share_by_which_measurements_may_exceed_estimates() -> None:
    limits = Budget(flash_bytes=1251, sram_bytes=1000, latency_ms=12.5, macs=7)
    held = limits.with_margins({"flash_bytes": 0.25, "latency_ms": 0.25})
    assert held == Budget(flash_bytes=1000, sram_bytes=1000, latency_ms=10.0, macs=7)


def test_a_trial_tells_what_its_estimates_were_held_to(odd: Study) -> None:
    for trial in study_record(odd).trials:
        assert trial.held is not None
        assert trial.budget.flash_bytes is not None
        assert trial.budget.latency_ms is not None
        assert trial.held.flash_bytes == int(trial.budget.flash_bytes / 1.1)
        assert trial.held.latency_ms == trial.budget.latency_ms / 1.25
