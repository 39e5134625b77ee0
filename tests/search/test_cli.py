"""The command line: a mistake ends with one line and exit code 2; JSON stands alone."""

import json
import logging
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.cli.main import VERBS, main

Paring = Callable[..., tuple[int, str, str]]
NEEDED = {verb: ["study=x"] for verb in ("sweep", "worker", "status", "front", "pick")}
NEEDED["export"] = ["study=x", "trial=0"]
OWN = "data._target_=pruning.data.synthetic ~data.validation_share ~data.test_share"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def the_complaint(called: tuple[int, str, str]) -> str:
    """The one line on stderr of a call that ends with 2 and prints nothing else."""
    code, out, err = called
    assert (code, out) == (2, ""), err
    (line,) = err.splitlines()
    assert line.startswith("paring: ")
    assert "Traceback" not in line
    assert "Error executing job" not in line
    return line


MISTAKES = [
    # what was meant by an unknown key, choice or argument
    ("sweep study=a model.filter=8", "'model.filter'; did you mean model.filters[?]"),
    ("sweep study=a modle.filters=8", "'modle.filters'; did you mean model.filters[?]"),
    ("sweep study=a modle=resnet8", "'modle'; did you mean model[?]"),
    ("sweep study=a worker=2", "'worker'; did you mean workers[?]"),
    ("sweep study=a lr=0.1", "'lr'; did you mean task.optimizer.lr[?]"),
    ("sweep study=a dense_epoch=5", "did you mean method.phases.dense_epochs[?]"),
    ("sweep study=a method.phases.dense_epoch=5", "mean method.phases.dense_epochs[?]"),
    ("sweep study=a hydra.foo=1", "'hydra.foo'; there are hydra[.]"),
    ("sweep study=a data.foo=1", "'data.foo'; there are data[.][a-z_, .+]+$"),
    ("front study=a outptu=html", "'outptu'; did you mean output[?]"),
    ("pause study=a reason=lunch", "'reason'; there are .*study"),
    ("sweep study=a method.update_interval=4", r"write \+method.update_interval=4$"),
    ("sweep study=a device.flash_margin=4", r"write \+device.flash_margin=4$"),
    ("inspect data=speech_commands data.words=[a]", r"write \+data.words=\[a\]$"),
    (
        "sweep study=a budget.flash=[9KiB]",
        "setting of budget=grid and budget=range and budget=auto$",
    ),
    ("sweep study=a +notify.foo=1", "'notify.foo'; there are notify.url$"),
    ("worker study=a +worker.foo=1", "'worker.foo'; there are worker.index$"),
    ("sweep study=a +storage.foo=1", "'foo'; there are folder"),
    ("sweep study=a +method.phases.dense_epoch=1", "'method.*'; there are dense_epochs, "),
    ("sweep study=a +experiment=demo", "experiment has a choice already.*without a +"),
    ("sweep study=a model=null", "null is no choice"),
    ("inspect experiment=demo", "experiment: this verb has no such group"),
    ("inspect device=stm32l072", "choose stm32l073, .*for another chip copy.*--config-dir"),
    ("sweep study=a experiment=dmeo", "choose demo, "),
    ("sweep study=a data=npy", "choose npz, [^;]*$"),
    ("sweep study=héé", "study='héé'.*letters a to z"),
    ("front study=a out=möwe.html output=html", "quotes of its own: 'out=\"möwe.html\"'"),
    ("sweep study=a shares=[0.5", "every bracket needs its other half"),
    ("status a", "^paring: a: write KEY=VALUE"),
    ("status study=a ~storage", "storage is needed"),
    ("sweep study=a objectives=score", "objectives: write a list"),
    ("sweep study=a min_channels=4", "min_channels: write a mapping"),
    ("sweep study=a +device.loops.conv=[1]", "loops.conv: write 1.0 for 1"),
    # unknown keys, choices and syntax
    ("sweep study=a nosuch=1", "'nosuch'"),
    ("sweep study=a model.filtres=4", "filtres"),
    ("sweep study=a model=nosuch", "model/nosuch.*resnet8"),
    ("inspect device=nosuch", "device/nosuch.*stm32f446"),
    ("pick study=a device=nosuch", "device/nosuch"),
    ("sweep study=a experiment=nosuch", "experiment/nosuch.*demo"),
    ("sweep study=a foo", "foo"),
    ("sweep study=a,b", "study=a,b"),
    # missing values and wrong types
    ("sweep", "study"),
    ("status", "study"),
    ("export study=a", "trial"),
    ("sweep study=a workers=abc", "workers.*abc"),
    ("sweep study=a workers=1.5", "workers.*1.5"),
    ("sweep study=a workers=0", "workers=0: write a number of at least 1"),
    ("sweep study=a workers=-2", "workers=-2"),
    ("sweep study=a trials=0", "trials=0: write a number of at least 1"),
    ("sweep study=a trials=many", "trials.*many"),
    ("sweep study=a seed=nan", "seed.*nan"),
    ("sweep study=a accelerator.threads=abc", "threads.*abc"),
    ("sweep study=a task.optimizer.lr=nan", r"task\.optimizer\.lr=nan"),
    ("sweep study=a shares=[nan]", "shares.0=nan"),
    ("sweep study=a shares=0.5", "shares"),
    ("sweep study=a quantise=qat", "quantise is called quantize by now"),
    ("sweep study=a +method.settle=0.5", "method.settle is called method.anneal_end by now"),
    ("sweep study=a method.phases.rate=0.5", "rate is called method.phases.lr_factor by now"),
    ("sweep study=a +keep=[stem]", "keep is called ignored_layers by now"),
    ("worker study=a storage.grace_s=9", "storage.grace_s is called storage.lease_s by now"),
    (f"sweep study=a {OWN} +space={{method.settle:[0.5]}}", "method.settle.* is not a setting"),
    ("sweep study=a scale=[0.5]", "scale is called shares by now; write shares="),
    ("worker study=a workers=0", "workers=0"),
    ("serve port=http", "port=http: write a number"),
    ("calibrate out=x.yaml csv=x", "with study=NAME"),
    ("worker study=a threads=x", "threads"),
    ("export study=a trial=abc", "trial=abc"),
    ("verify study=a workers=-1", "workers=-1"),
    ("verify study=a output=xml", "output=xml"),
    (
        "export study=a trial=0 format=pt",
        "format=pt: write one of .*safetensors",
    ),
    ("front study=a output=xml", "output=xml"),
    ("status study=a output=xml", "output=xml"),
    ("inspect output=xml", "output=xml"),
    ("doctor output=xml", "output=xml"),
    # names and places
    ("sweep study=../a", r"study='../a'"),
    ("sweep study=a/b", "study='a/b'"),
    ("status study=..", "study"),
    ("pick study=a device=rp2040 out=../x", "out='../x' climbs out"),
    ("pick study=a device=rp2040 format=c name=new", "name=new: a keyword of C or C++"),
    ("export study=a trial=0 format=c name=2nd", "name=2nd: use 1 to 24 letters"),
    ("export study=a trial=0 format=c name=null", "name=None: use 1 to 24 letters"),
    ("export study=a trial=0 format=c name=kernels", "have this name; write another"),
    ("export study=a trial=0 format=tflite name=kws", "name=kws: it is for generated C"),
    ("pick study=a device=rp2040 out=/tmp/x", "out='/tmp/x' climbs out"),
    ("pick study=a device=rp2040 out=.", "out='.'"),
    ("export study=a trial=0 out=a/../../x", "climbs out"),
    ("pick study=a device=rp2040 alias=a/b", "alias='a/b'"),
    ("pick study=a", "device=NAME, or a limit such as budget.flash"),
    ("pick study=a budget.flash=nan", "nan"),
    # studies that are not there
    ("front study=a", "no studies in .*here"),
    ("worker study=a", "no studies"),
    ("sweep study=a", "study=a: no such study; add experiment"),
    ("inspect model=custom model._target_=nosuch.Net", "nosuch.Net.*No module named 'nosuch'"),
    (
        f"sweep study=a {OWN} budget=grid budget.flash=10B",
        "flash_bytes 10 is below the least reachable [0-9]+ ",
    ),
    # databases
    ("sweep study=a storage.url=postgresql://u:hush@h/db", r"u:\*\*\*@h.*PGPASSWORD"),
    ("sweep study=a storage.url=postgresql://h/db?password=hush", r"\*\*\*.*PGPASSWORD"),
    ("sweep study=a storage.url=postgresql://127.0.0.1:1/db", "127.0.0.1:1.*server running"),
    ("sweep study=a storage.url=mysql://h/db", "mysql.*postgresql"),
    ("sweep study=a storage.url=nonsense", "storage.url: not a URL"),
    ("sweep study=a storage.heartbeat_s=0", "heartbeat_s=0"),
    ("sweep study=a storage.folder=/proc/x", "/proc/x"),
]
MORE_MISTAKES = [
    # models, data, devices
    ("inspect model=custom", r"model\._target_"),
    ("inspect model=custom model._target_=pathlib.Path", "gives a PosixPath, not a Module"),
    ("inspect model.filters=0", "filters is 0"),
    ("inspect model.filters=abc", "model.filters='abc': .*resnet8 expects a whole number"),
    ("inspect model.filters=8.0", "model.filters=8.0: .* expects a whole number"),
    ("inspect model.filters=null", "model.filters=None: .* expects a whole number"),
    (
        "inspect model.in_channels=3",
        r"\(2, 1, 8, 8\): the data has 1 channel, and the network wants 3",
    ),
    ("inspect +model.filter=8", "model.filter: .*takes no filter; it takes filters, classes"),
    ("inspect +data.foo=1", "digits takes no foo; it takes .*leave it out with ~data.foo"),
    ("inspect model._target_=pruning.models.resnet9", "it has resnet8, resnet20, "),
    ("inspect model._target_=torch.nn.Conv2d", "model.classes: torch.nn.Conv2d takes no cl"),
    ("inspect data=digits_anomaly data.normal=3", "data.normal=3: .*expects a list of which"),
    ("inspect weights=/nowhere.pt", "no weights at /nowhere.pt"),
    ("inspect ignored_layers=[nosuch]", "nosuch"),
    ("inspect data=npz data.path=/nowhere.npz", "no data set at /nowhere.npz"),
    ("inspect data=cifar10", r"data\.folder"),
    ("inspect data=cifar10 data.folder=/nowhere", "/nowhere"),
    ("inspect device.clock_hz=0", r"device\.clock_hz=0"),
    ("inspect device.flash=big", "device.flash=big: .*without a unit is bytes"),
    ("inspect device.flash=16KiB", r"device\.flash=16KiB: nothing is left"),
    # recipes and budgets
    (f"sweep study=a {OWN} method.name=foo", "foo.*differentiable"),
    (f"sweep study=a {OWN} method.phases.dense_epochs=0", "dense_epochs=0: at least 1"),
    (f"sweep study=a {OWN} method.phases.prune_epochs=0", "prune_epochs=0: at least 1"),
    (f"sweep study=a {OWN} method.phases.lr_factor=0", "lr_factor=0"),
    (
        f"sweep study=a {OWN} +method.update_interval=0",
        "update_interval is 0; it must be at least 1",
    ),
    (f"sweep study=a {OWN} task.batch_size=0", "batch_size"),
    (f"sweep study=a {OWN} task.optimizer.lr=fast", "lr='fast': .*sgd expects a number"),
    (f"sweep study=a {OWN} task.optimizer.lr=null", "lr=None: .*sgd expects a number"),
    (f"sweep study=a {OWN} task.loss=mse", "task.loss='mse': .*expects an object"),
    (f"sweep study=a {OWN} +task.metric.x=1", "task.metric.x: .*takes no x; it takes noth"),
    (
        f"sweep study=a {OWN} task.metric._target_=pruning.tasks.MacroF1Score",
        r"pruning\.tasks has no MacroF1Score; it has MacroF1, ((?!Cross).)*Accuracy",
    ),
    (
        f"sweep study=a {OWN} task.metric._target_=pruning.tasks.CrossEntropy",
        "the metric is CrossEntropy.*Use one of Accuracy, .*MacroF1",
    ),
    (f"sweep study=a {OWN} task.optimizer._target_=torch.optim.SGD", "SGD needs params"),
    (f"sweep study=a {OWN} task.optimizer.lr=-1", r"task\.optimizer: ValueError: .*-1"),
    (
        f"sweep study=a {OWN} sampler=tpe sampler.n_startup_trials=x",
        "trials='x': .*expects a whole number",
    ),
    (f"sweep study=a {OWN} +space={{method.aneal_end:[0.5]}}", "such as method.anneal_end"),
    (f"sweep study=a {OWN} budget=grid budget.flash=[24]", "least reachable [0-9]+ bytes"),
    (
        f"sweep study=a {OWN} shares=[0.9] +budget.flash=9KiB",
        "budget.flash is not used by budget=ladder; .*choose budget=grid or budget=range",
    ),
    (
        f"sweep study=a {OWN} shares=[0.001] budget.exponents.sram=0",
        "Or lower budget.exponents.flash, budget.exponents.latency, or drop that share",
    ),
    (f"sweep study=a {OWN} objectives=[foo]", "foo.*flash_bytes"),
    (f"sweep study=a {OWN} objectives=[]", "objectives: none"),
    (f"sweep study=a {OWN} sampler._target_=builtins.dict", "sampler.*dict"),
    (f"sweep study=a {OWN} +sampler.nosuch=1", "sampler.*nosuch"),
    (f"sweep study=a {OWN} +space.foo=[1,2]", "'foo' is not a setting"),
    (f"sweep study=a {OWN} accelerator.device=foo", "accelerator.device=foo"),
    (f"sweep study=a {OWN} accelerator.precision=int4", "int4"),
    (f"sweep study=a {OWN} budget=grid", "nothing is limited"),
    (f"sweep study=a {OWN} budget=grid budget.flash=10parsec", "10parsec"),
    (f"sweep study=a {OWN} shares=[2]", r"shares=\[2\.0\]"),
]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        *(pytest.param(*each, id=each[0]) for each in MISTAKES),
        *(pytest.param(*each, id=each[0], marks=pytest.mark.slow) for each in MORE_MISTAKES),
    ],
)
def test_a_mistake_gets_one_clear_line(
    paring: Paring, elsewhere: Path, line: str, said: str
) -> None:
    complaint = the_complaint(paring(*line.split()))
    assert re.search(said, complaint), complaint
    assert "hush" not in complaint
    assert {path.name for path in elsewhere.iterdir()} <= {".paring"}


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_takes_keys_that_it_does_not_have(
    paring: Paring, elsewhere: Path, verb: str
) -> None:
    complaint = the_complaint(paring(verb, "+foo=3"))
    assert "there is no setting 'foo'; there are " in complaint
    assert "hydra/" not in complaint
    assert list(elsewhere.iterdir()) == []


OWN_FILES = {
    "trails: 3\n": "'trails'; there are trials, ",
    "model: {filter: 8}\n": "model.filter: .*it takes filters",
    "method: {phases: {dense_epoch: 8}}\n": "'method.phases.dense_epoch'; there are dense",
    "task: {optimizr: {lr: 1}}\n": "task.optimizr: .*it takes optimizer",
    "model: {filters: 8\n": "syntax|flow mapping",
    "defaults: [override /model: resnet]\n": "model/resnet: .*choose resnet8, ",
    "defaults: [override /modle: resnet8]\n": "modle: this verb has no such group",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", OWN_FILES)
def test_a_mistake_in_a_file_of_the_users(paring: Paring, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\n{text}")
    options = ["--config-dir", str(folder.parent)]
    complaint = the_complaint(paring("sweep", "study=a", *options, "experiment=mine"))
    assert re.search(OWN_FILES[text], complaint), complaint
    (folder / "mine.yaml").write_text("model: {filters: 8}\n")  # taken, and used for nothing
    complaint = the_complaint(paring("sweep", "study=a", *options, "experiment=mine"))
    assert "# @package _global_" in complaint


ENDING = {
    "on import": "import sys\nsys.exit(3)\n",
    "when made": "import sys\ndef net(classes):\n    sys.exit(3)\n",
    "when run": (
        "import sys\nfrom torch import nn\n"
        "class net(nn.Flatten):\n"
        "    def __init__(self, classes):\n        super().__init__()\n"
        "    def forward(self, x):\n        sys.exit(3)\n"
    ),
}


@pytest.mark.parametrize("when", ENDING)
def test_code_of_the_users_that_ends_the_program(
    paring: Paring, elsewhere: Path, when: str
) -> None:
    name = f"ends_{when.replace(' ', '_')}"
    (elsewhere / f"{name}.py").write_text(ENDING[when])
    given = ["model=custom", f"model._target_={name}.net", "+model.classes=auto"]
    complaint = the_complaint(paring("inspect", *given))
    line = ENDING[when].splitlines().index(next(
        each for each in ENDING[when].splitlines() if "exit" in each
    )) + 1  # fmt: skip
    assert f"{name}.py:{line} ended the program with sys.exit(3)" in complaint


OWN_METRIC = {
    "": "AttributeError: .*chance",
    "    def chance(self, targets, classes):\n        return 1 / 0\n": "ZeroDivisionError",
}


@pytest.mark.slow
@pytest.mark.parametrize("chance", OWN_METRIC)
def test_a_metric_of_the_users_that_fails(paring: Paring, elsewhere: Path, chance: str) -> None:
    name = f"metric_of_the_cli_test_{len(chance)}"
    (elsewhere / f"{name}.py").write_text(
        "class Own:\n    name, direction = 'own', 'maximize'\n"
        f"    def __call__(self, outputs, targets):\n        return 0.5\n{chance}"
    )
    given = ["sweep", "study=a", *OWN.split(), f"task.metric._target_={name}.Own"]
    complaint = the_complaint(paring(*given))
    assert re.search(f"^paring: task.metric: {OWN_METRIC[chance]}", complaint), complaint


def npz_of(folder: Path, **arrays: Any) -> list[str]:
    """Overrides that inspect a small network on an archive in a folder."""
    (folder / "mlp_of_the_cli_test.py").write_text(
        "from torch import nn\n"
        "def net(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes))\n"
    )
    inputs, targets = np.random.default_rng(0).random((30, 16)), np.arange(30) % 3
    both = {f"{x}_{part}": a for part in ("train", "test") for x, a in
            (("x", inputs), ("y", targets))}  # fmt: skip
    np.savez(folder / "own.npz", **{**both, **arrays})
    network = "model=custom model._target_=mlp_of_the_cli_test.net +model.classes=auto"
    return [*network.split(), "data=npz", "data.path=own.npz", "data.layout=NL"]


def test_what_is_odd_about_data_is_told_on_the_terminal(paring: Paring, elsewhere: Path) -> None:
    labels = np.arange(30) % 3 + 1
    given = npz_of(elsewhere, y_train=labels, y_test=labels, subject_train=labels)
    code, out, err = paring("inspect", *given, "output=json")
    assert code == 0, err
    assert json.loads(out)["groups"][-1]["channels"] == 4
    told = err.splitlines()
    assert [line.partition(": ")[0] for line in told] == ["WARNING paring"] * 2
    assert "not used: subject_train" in told[0]
    assert re.search("class 0.*begin with 1", told[1])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y_train": np.array([{}] * 30)}, "^paring: own.npz cannot be read .*Python objects"),
        ({"y_train": np.arange(30.0)}, "^paring: targets of the test split"),
        ({"x_valid": np.zeros(3)}, r"^paring: own.npz .*x_valid \(x_val\?\)"),
        ({"y_train": np.full(30, 2**40)}, "^paring: the 30 training targets .*1099511627776"),
    ],
)
def test_a_mistake_in_data_is_told_plainly(
    paring: Paring, elsewhere: Path, arrays: dict[str, Any], said: str
) -> None:
    complaint = the_complaint(paring("inspect", *npz_of(elsewhere, **arrays)))
    assert re.search(said, complaint), complaint
    assert not re.search("unsafe|allow_pickle|DataError|Error in call", complaint)


def test_torch_prints_no_traceback_of_its_own(
    paring: Paring, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = npz_of(elsewhere, **{f"x_{part}": np.zeros((30, 9)) for part in ("train", "test")})
    complaint = the_complaint(paring("inspect", *given))
    assert "cannot be traced for inputs shaped (2, 1, 9)" in complaint
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_options_may_stand_between_settings(paring: Paring, tmp_path: Path) -> None:
    options = ["--config-dir", str(tmp_path)]
    complaint = the_complaint(paring("status", "study=a", *options, "output=json"))
    assert "no studies" in complaint


@pytest.mark.slow
def test_the_mistakes_of_reading_leave_nothing_behind(paring: Paring, elsewhere: Path) -> None:
    for verb in ("status", "front", "worker"):
        the_complaint(paring(verb, "study=a"))
    the_complaint(paring("pick", "study=a", "device=rp2040"))
    assert list(elsewhere.iterdir()) == []


def test_an_unknown_verb(paring: Paring) -> None:
    assert re.search("'prune'.*sweep", the_complaint(paring("prune", "study=a")))


def test_no_verb_shows_the_usage(paring: Paring) -> None:
    assert paring("--help")[0] == 0
    code, out, _ = paring()
    assert code == 2
    assert all(verb in out for verb in VERBS)
    assert paring("--version")[1].startswith("paring ")


def test_an_unknown_option(paring: Paring) -> None:
    code, out, err = paring("sweep", "--nosuch")
    assert (code, out) == (2, "")
    assert "--nosuch" in err


def test_debug_shows_the_traceback(paring: Paring) -> None:
    code, out, err = paring("sweep", "study=../a", "debug=true")
    assert (code, out) == (2, "")
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("paring: study='../a'")


# --- databases of somebody else


@pytest.mark.slow
def test_a_foreign_database(paring: Paring, elsewhere: Path) -> None:
    (elsewhere / ".paring").mkdir()
    path = elsewhere / ".paring" / "optuna.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = path.read_bytes()
    for line in ("status study=a", "sweep study=a experiment=demo"):
        complaint = the_complaint(paring(*line.split()))
        assert re.search(r"optuna\.db.*recipes.*nothing was changed", complaint)
    assert path.read_bytes() == before
    assert not (elsewhere / ".paring" / "mlflow.db").exists()


def test_a_file_that_is_no_database(paring: Paring, elsewhere: Path) -> None:
    (elsewhere / ".paring").mkdir()
    path = elsewhere / ".paring" / "optuna.db"
    path.write_bytes(b"my diary\n" * 500)
    assert "not a SQLite database" in the_complaint(paring("status", "study=a"))
    assert path.read_bytes() == b"my diary\n" * 500


def test_the_folder_is_a_file(paring: Paring, elsewhere: Path) -> None:
    (elsewhere / ".paring").write_text("kept")
    assert "is a file" in the_complaint(paring("sweep", "study=a", "experiment=demo"))
    assert (elsewhere / ".paring").read_text() == "kept"


@pytest.mark.slow
def test_a_locked_database(paring: Paring, elsewhere: Path) -> None:
    (elsewhere / ".paring").mkdir()
    other = sqlite3.connect(elsewhere / ".paring" / "optuna.db")
    other.execute("CREATE TABLE studies (x)")
    other.execute("BEGIN EXCLUSIVE")
    assert "is locked" in the_complaint(paring("status", "study=a"))
    other.close()


# --- passwords


@pytest.fixture
def own_configs(tmp_path: Path) -> str:
    """A folder of configs whose storage has a password in its URL."""
    (tmp_path / "own" / "storage").mkdir(parents=True)
    (tmp_path / "own" / "storage" / "mine.yaml").write_text(
        "folder: .paring\nurl: postgresql://me:hush@db.example/paring\n"
    )
    return str(tmp_path / "own")


@pytest.mark.slow
def test_a_password_in_a_config_is_refused(paring: Paring, own_configs: str) -> None:
    called = paring("sweep", "--config-dir", own_configs, "storage=mine", "study=a")
    complaint = the_complaint(called)
    assert "password" in complaint
    assert "hush" not in complaint
    debug = paring("sweep", "--config-dir", own_configs, "storage=mine", "study=a", "debug=true")
    assert "hush" not in debug[1] + debug[2]


@pytest.mark.parametrize(
    "option", ["--cfg job", "--cfg=job", "-cjob", "-c all", "--info config", "-i all", "--help"]
)
def test_a_shown_config_hides_the_password(paring: Paring, own_configs: str, option: str) -> None:
    arguments = ["--config-dir", own_configs, "storage=mine", "study=a", *option.split()]
    code, out, err = paring("sweep", *arguments)
    assert code == 0, err
    assert "hush" not in out + err
    assert "me:***@db.example" in out


@pytest.mark.slow
def test_a_shown_config_hides_what_the_environment_keeps_secret(
    paring: Paring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARING_NOTIFY_URL", "https://hooks.example/T0/secret-path")
    code, out, err = paring("sweep", "study=a", "--cfg", "job", "--resolve")
    assert code == 0, err
    assert "secret-path" not in out + err
    assert "url: '***'" in out or "url: ***" in out


# --- what a Hydra user expects


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(paring: Paring, elsewhere: Path, verb: str) -> None:
    code, out, err = paring(verb, "--help")
    assert (code, err) == (0, "")
    assert f"paring {verb}" in out
    assert "storage" in out or verb == "inspect"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_its_config(paring: Paring, elsewhere: Path, verb: str) -> None:
    import yaml

    code, out, err = paring(verb, *NEEDED.get(verb, []), "--cfg", "job")
    assert (code, err) == (0, "")
    assert yaml.safe_load(out)["debug"] is False
    assert list(elsewhere.iterdir()) == []


def test_inspect_prints_nothing_but_json(paring: Paring, elsewhere: Path) -> None:
    code, out, err = paring("inspect", "output=json", "model.filters=4")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["schema"] == "paring.inspect/2"
    assert told["flash_bytes"] == sum(line["flash_bytes"] for line in told["operators"])
    assert told["macs"] == sum(line["macs"] for line in told["operators"])
    assert told["sram_bytes"] == max(line["live_bytes"] for line in told["operators"])
    assert told["fits"] is True
    assert all(told["least"][name] < told[name] for name in ("flash_bytes", "sram_bytes"))
    assert list(elsewhere.iterdir()) == []


def test_inspect_says_when_a_network_does_not_fit(paring: Paring) -> None:
    code, out, _ = paring("inspect", "model.filters=64", "device=stm32f103")
    assert code == 0
    assert "does NOT fit stm32f103" in out


def test_doctor_prints_nothing_but_json(paring: Paring) -> None:
    code, out, _ = paring("doctor", "output=json")
    checks = json.loads(out)
    assert {check["what"] for check in checks} >= {"Python", "torch", "threads", "store"}
    assert code == (0 if all(check["good"] for check in checks) else 2)


def test_doctor_finds_what_is_wrong(paring: Paring, elsewhere: Path) -> None:
    (elsewhere / ".paring").mkdir()
    (elsewhere / ".paring" / "mlflow.db").write_bytes(b"my diary\n" * 500)
    code, out, _ = paring("doctor", "output=json")
    bad = [check for check in json.loads(out) if not check["good"]]
    assert code == 2
    assert any("not a SQLite database" in check["found"] for check in bad)


def test_the_users_own_network_is_found(paring: Paring, elsewhere: Path) -> None:
    (elsewhere / "mynet_of_the_cli_test.py").write_text(
        "from torch import nn\n"
        "def net(classes, width):\n"
        "    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(),\n"
        "                         nn.Linear(width * 36, classes))\n"
    )
    target = "model._target_=mynet_of_the_cli_test.net"
    given = [target, "+model.classes=auto", "+model.width=5", "output=json"]
    code, out, err = paring("inspect", "model=custom", *given)
    assert code == 0, err
    assert json.loads(out)["groups"][1]["channels"] == 5


@pytest.mark.slow
def test_a_network_of_two_heads_is_inspected_but_not_swept(paring: Paring, elsewhere: Path) -> None:
    (elsewhere / "two_heads_of_the_cli_test.py").write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.one, self.two = nn.Linear(64, classes), nn.Linear(64, 2)\n"
        "    def forward(self, x):\n"
        "        return self.one(x.flatten(1)), self.two(x.flatten(1))\n"
    )
    given = ["model=custom", "model._target_=two_heads_of_the_cli_test.Two"]
    code, _, err = paring("inspect", *given, "+model.classes=auto")
    assert code == 0, err
    code, _, err = paring("sweep", "study=two", *given, "+model.classes=auto")
    assert code == 2
    assert "2 outputs (one, two), and a task trains one" in err


@pytest.mark.slow
def test_as_a_process_of_its_own(elsewhere: Path) -> None:
    command = [str(Path(sys.executable).with_name("paring")), "inspect", "nosuch=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("paring: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(elsewhere.iterdir()) == []


def test_main_always_ends_with_an_exit_code() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
