"""What a user registers by `_target_`, one file each: a method, a format, a runtime."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.config.schema import MethodConfig, StorageConfig
from search.config.spec import Spec
from search.errors import ConfigError, StudyError
from search.results.report import study_record
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.factory import method_from
from search.study.study import Study
from search.study.trials import trial_budget
from search.worker.worker import work

pytestmark = pytest.mark.slow  # all need studies that were worked on
Paring = Callable[..., tuple[int, str, str]]
METHOD = """
from dataclasses import dataclass

from pruning.allocation.method import Method, Problem

ASKED = []


@dataclass(frozen=True)
class Share(Method):
    share: float = 1.0

    def widths(self, problem: Problem) -> list[float]:
        ASKED.append(self.share)
        return [self.share * group.size for group in problem.groups]
"""
FORMAT = """
from functools import partial

from pruning.export.formats import Format


def listing(mark: str, network, stored, source):
    lines = [f"{mark} {operator.name} {operator.shape}" for operator in network.graph.operators]
    return {f"{source.name}.txt": "\\n".join(lines).encode()}


def text(mark: str = "-") -> Format:
    return Format(files=partial(listing, mark), usage="Read `{name}.txt`.", own=("{name}.txt",))
"""
RUNTIME = """
from pruning.deploy import reference
from pruning.deploy.toolchain.measure import Measured, compared
from pruning.deploy.toolchain.runtimes import Runtime


def run(network, core, codes):
    values = reference(network, codes)
    results, mismatches = compared(network, codes, [values[name] for name in network.outputs])
    counts = {kernel.name: 1_000 for kernel in network.kernels}
    return Measured(
        core=core, flash_bytes=1_000, sram_bytes=100, stack_bytes=10,
        instructions=sum(counts.values()), by_kernel=counts,
        samples=len(codes), results=results, mismatches=mismatches,
    )


def bench() -> Runtime:
    return Runtime(run=run, where="the bench in the cellar")
"""
OWN = ("method=custom", "method.allocation._target_=own_method.Share", "shares=[0.75,0.5]")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a user's three files, in which verbs are called."""
    folder, before = tmp_path_factory.mktemp("registered"), Path.cwd()
    for name, text in (("method", METHOD), ("format", FORMAT), ("runtime", RUNTIME)):
        (folder / f"own_{name}.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        os.chdir(folder)
        yield folder
        os.chdir(before)


@pytest.fixture(scope="module")
def workspace(here: Path) -> Workspace:
    return open_workspace(StorageConfig(folder=str(here / ".paring"), checkpoint_s=0))


@pytest.fixture(scope="module")
def done(workspace: Workspace, compose_spec: Callable[..., Spec], tiny: list[str]) -> Study:
    """A sweep by a method of the user's."""
    spec = compose_spec(*tiny, *OWN, "+method.allocation.share=0.75")
    study = create.prepare(workspace, "own", spec, None)
    work(workspace.config, "own", threads=1)
    return study


def test_a_method_of_the_users_is_asked_and_holds_every_budget(done: Study) -> None:
    import own_method

    assert set(own_method.ASKED) == {0.75}
    record = study_record(done)
    assert [trial.state.value for trial in record.trials] == ["complete"] * 2
    for trial, stored in zip(record.trials, done.trials(), strict=True):
        costs = trial.known_costs
        for name, limit in trial_budget(stored).limits.items():
            assert getattr(costs, name) <= limit
    widths = [trial.user_attrs["result"]["widths"] for trial in done.trials()]
    assert widths[0] != widths[1]


def test_a_method_of_the_users_is_a_part_of_the_spec(
    done: Study, workspace: Workspace, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    assert done.spec["method"]["name"] == "custom"
    assert done.spec["method"]["allocation"] == {"_target_": "own_method.Share", "share": 0.75}
    again = create.prepare(workspace, "own", compose_spec(*tiny, *OWN,
                           "+method.allocation.share=0.75"), None)  # fmt: skip
    assert again.key == done.key
    other = compose_spec(*tiny, *OWN, "+method.allocation.share=0.5")
    with pytest.raises(StudyError, match=r"method\.allocation\.share \(stored 0\.75, now 0\.5\)"):
        create.prepare(workspace, "own", other, None)


def test_what_a_method_is_made_with_can_be_searched(
    here: Path, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    spec = compose_spec(*tiny, *OWN, "+method.allocation.share=0.75")
    changed = spec.replaced({"method.allocation.share": 0.25})
    assert method_from(changed.typed().method).share == 0.25  # type: ignore[attr-defined]


def test_a_spec_of_before_names_its_method_by_a_word(compose_spec: Callable[..., Spec]) -> None:
    values = dict(compose_spec("method=greedy").values)
    values["method"] = {k: v for k, v in values["method"].items() if k != "allocation"}
    assert type(method_from(Spec(values).typed().method)).__name__ == "Greedy"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (MethodConfig(name="unifrom"), "method.name='unifrom': write one of uniform, .*custom"),
        (MethodConfig(name="custom"), "method.name='custom': write one of .*allocation._target_"),
        (
            MethodConfig(name="greedy", allocation={"_target_": "own_method.Share"}),
            "method.name=greedy is one of paring's.*choose method=custom",
        ),
        (
            MethodConfig(name="custom", allocation={"_target_": "own_method.Shear"}),
            "own_method has no Shear; it has Share",
        ),
        (
            MethodConfig(name="custom", allocation={"_target_": "pathlib.Path"}),
            "method.allocation: pathlib.Path gives a PosixPath, not a Method",
        ),
        (
            MethodConfig(name="custom", allocation={"_target_": "own_method.Share", "part": 1.0}),
            r"method\.allocation\.part: own_method.Share takes no part; it takes share",
        ),
    ],
)
def test_a_method_that_cannot_be_is_refused(here: Path, config: MethodConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        method_from(config)


def test_a_finished_model_in_a_format_of_the_users(paring: Paring, here: Path, done: Study) -> None:
    form = "format={_target_: own_format.text, mark: '*'}"
    code, out, err = paring("export", "study=own", "trial=0", form, "name=kws", "out=models/own")
    assert (code, err) == (0, "")
    folder = here / "models" / "own"
    assert f"written: {folder / 'kws.txt'}" in out
    assert (folder / "kws.txt").read_text().startswith("* ")
    assert "Read `kws.txt`." in (folder / "README.md").read_text()
    assert json.loads((folder / "model.json").read_text())["files"] == ["kws.txt"]


def test_files_of_a_users_format_go_with_their_model(
    paring: Paring, here: Path, done: Study
) -> None:
    """Another form of the same model stays beside them, another model takes their place."""
    folder, form = here / "models" / "shared", "format={_target_: own_format.text}"
    assert paring("export", "study=own", "trial=0", form, "out=models/shared")[0] == 0
    assert paring("export", "study=own", "trial=0", "out=models/shared")[0] == 0
    assert {"model.txt", "model.safetensors"} <= {path.name for path in folder.iterdir()}
    assert paring("export", "study=own", "trial=1", "out=models/shared")[0] == 0
    assert "model.txt" not in {path.name for path in folder.iterdir()}
    assert "files" not in json.loads((folder / "model.json").read_text())


def test_a_format_in_a_file_of_its_own(paring: Paring, here: Path, done: Study) -> None:
    (here / "my" / "format").mkdir(parents=True)
    (here / "my" / "format" / "text.yaml").write_text("_target_: own_format.text\nmark: '#'\n")
    given = ["--config-dir", "my", "+format=text"]
    code, _, err = paring("export", *given, "study=own", "trial=0", "out=models/group")
    assert (code, err) == (0, "")
    assert (here / "models" / "group" / "model.txt").read_text().startswith("# ")


def test_models_in_a_runtime_of_the_users(paring: Paring, here: Path, done: Study) -> None:
    runtime = "runtime={_target_: own_runtime.bench}"
    code, out, err = paring("verify", "study=own", "trial=0", "output=json", runtime)
    assert code in (0, 1)  # 1: over its latency, or its SRAM
    (model,) = json.loads(out)["models"]
    assert model["mismatches"] == 0 < model["results"]
    assert model["measured"]["flash_bytes"] == 1_000
    assert "[1/1] trial 0 measured" in err
    _, out, _ = paring("verify", "study=own", "trial=0", runtime)
    assert "measured on the bench in the cellar" in " ".join(out.split())
    assert study_record(done).trials[0].measured is None  # kept are those of emulated cores


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("export trial=0 format=onxn", "format=onxn: write one of onnx, .*_target_"),
        ("export trial=0 format={mark:x}", "format: no _target_"),
        ("export trial=0 format={_target_:own_runtime.bench}", "Runtime, not a Format"),
        ("export trial=0 format={_target_:own_format.text,mrk:x}", "takes no mrk; it takes mark"),
        ("pick device=rp2040 format=null", "format=None: write one of "),
        ("verify runtime=tflmm", "runtime=tflmm: write one of tflm, c; or for your own"),
        ("verify runtime={_target_:own_format.text}", "gives a Format, not a Runtime"),
    ],
)
def test_what_is_not_registered_is_refused(
    paring: Paring, here: Path, line: str, said: str
) -> None:
    verb, *overrides = line.split()
    code, out, err = paring(verb, "study=own", *overrides)
    assert (code, out) == (2, "")
    assert re.search(said, err), err
