"""The doors of the engine: inspect a network, prune it, take the result along."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pruning
from pruning.budget import parse_margin
from pruning.cost.model import deployed
from pruning.deploy import lower
from pruning.execution.fake_quant import QuantParams
from pruning.export.files import NOTE
from pruning.frontend.trace import trace
from pruning.training.checkpoint import unpack_network
from pruning.training.job import Precision
from tests.pruning.jobs import Tiny
from tests.toolchain import COMPILER

DATA = pruning.data.synthetic(train=64, validation=32, test=32, noise=1.0)
SHORT = pruning.recipe(dense=1, prune=1, finetune=1)


def tiny() -> torch.nn.Module:
    torch.manual_seed(1)
    return Tiny()


@pytest.fixture(scope="module")
def model() -> pruning.PrunedModel:
    return pruning.prune(
        tiny(), DATA, device="stm32f446", flash="60 %", sram="70 %", recipe=SHORT, progress=False
    )


# --- inspect


def test_an_inspection_is_that_of_the_generated_c() -> None:
    found = pruning.inspect(tiny(), torch.zeros(1, 8, 8), "stm32f103")
    device = pruning.device("stm32f103")
    assert found.cost == deployed(trace(tiny(), torch.zeros(1, 8, 8)), device).dense
    assert found.fits
    assert found.least.flash_bytes < found.cost.flash_bytes
    assert sum(line.macs for line in found.operators) == found.cost.macs
    assert found.parameters == sum(t.numel() for t in [*tiny().parameters()]) + 2 * 36
    assert found.input_bytes == 64
    assert found.obstacles == ()
    assert "It fits stm32f103 as it is, unpruned." in str(found)


def test_an_inspection_says_what_has_no_c() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Softmax(1))
    found = pruning.inspect(net, torch.zeros(1, 8, 8), pruning.device("rp2040"))
    assert "softmax" in found.obstacles[0]
    assert f"No exact int8 form: {found.obstacles[0]}" in str(found)


def test_layers_can_be_left_alone() -> None:
    found = pruning.inspect(tiny(), torch.zeros(1, 8, 8), "rp2040", ignored_layers=("stem",))
    stem = next(group for group in found.groups if "stem.0" in group.operators)
    assert not stem.prunable


# --- prune


def test_a_pruned_model_holds_its_budget(model: pruning.PrunedModel) -> None:
    dense = deployed(trace(tiny(), torch.zeros(1, 8, 8)), pruning.device("stm32f446")).dense
    assert model.budget.flash_bytes == int(dense.flash_bytes * 0.6)
    assert model.budget.sram_bytes == int(dense.sram_bytes * 0.7)
    assert model.budget.holds(model.cost)
    assert [epoch.phase for epoch in model.history] == ["dense", "prune", "finetune"]
    assert model.score == model.history[-1].score == model.score_on(DATA.validation)
    assert 0 <= model.score_on(DATA.test) <= 1


def test_what_is_scored_is_what_would_be_deployed(model: pruning.PrunedModel) -> None:
    assert model.job.scoring is Precision.EXACT
    stored = unpack_network(model.content)
    assert stored.notes["score"] == model.score
    codes = {name: QuantParams(*code) for name, code in stored.notes["codes"].items()}
    lowered = lower(stored.graph, stored.tensors, codes)
    assert lowered.shapes["input"] == (1, 8, 8)


def test_a_model_says_why_it_looks_as_it_does(model: pruning.PrunedModel) -> None:
    said = model.why()
    assert "price of the limit" in said
    assert model.explanation is not None
    groups = [group for group in model.explanation.groups if group.before != group.after]
    assert groups
    assert all(f"{group.before} -> {group.after}" in said for group in groups)
    unpruned = pruning.prune(
        tiny(), DATA, device="stm32f446", progress=False, recipe=pruning.recipe(1, 0, 0)
    )
    assert unpruned.why() == "Nothing was pruned: the recipe has no prune phase."


def test_a_run_shows_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    pruning.prune(tiny(), DATA, device="stm32f446", recipe=SHORT)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "epoch 1/3 dense", "epoch 2/3 prune", "epoch 3/3 finetune",
    ]  # fmt: skip
    assert "flash " in lines[0]


def test_the_module_stays_as_it_is() -> None:
    net = tiny()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    pruning.prune(net, DATA, device="stm32f446", flash="60 %", recipe=SHORT, progress=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_same_seed_gives_the_same_network(model: pruning.PrunedModel) -> None:
    again = pruning.prune(
        tiny(), DATA, device="stm32f446", flash="60 %", sram="70 %", recipe=SHORT, progress=False
    )
    assert again.content == model.content


def test_the_device_bounds_what_is_not_limited() -> None:
    small = replace(pruning.device("stm32f103"), flash_bytes=27_000)  # 24 KiB are reserved
    model = pruning.prune(tiny(), DATA, device=small, recipe=SHORT, progress=False)
    assert model.budget.flash_bytes == 27_000 - 24 * 1024
    assert model.budget.holds(model.cost)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flash": "a lot"}, "flash_bytes: cannot read the limit 'a lot'"),
        ({"latency": "20 KiB"}, "latency_ms: cannot read the limit '20 KiB'"),
        ({"flash": 9}, "flash_bytes 9 is below the least reachable"),
        ({"sram": True}, "sram_bytes: cannot read the limit True"),
        ({"lr": 0.1}, "there is no setting 'lr'; there are "),
        ({"device": "stm32"}, "device 'stm32': not in the catalogue"),
        ({"recipe": ()}, "recipe: no epoch"),
    ],
)
def test_nonsense_is_refused_before_training(settings, message, capsys) -> None:
    with pytest.raises(pruning.PruningError, match=message):
        pruning.prune(tiny(), DATA, **{"device": "stm32f446", "recipe": SHORT, **settings})
    assert capsys.readouterr().out == ""


# --- sizes as people write them


@pytest.mark.parametrize(
    ("text", "size"),
    [("32 KiB", 32768), ("32KiB", 32768), ("32 kB", 32000), (4096, 4096), ("0.5 MiB", 2**19)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert pruning.Budget.of(flash=text) == pruning.Budget(flash_bytes=size)


def test_times_and_shares() -> None:
    dense = pruning.Cost(flash_bytes=1000, sram_bytes=400, latency_ms=8.0, macs=1)
    budget = pruning.Budget.of("12 %", "400 B", "50 %", dense)
    assert budget == pruning.Budget(flash_bytes=120, sram_bytes=400, latency_ms=4.0)
    assert pruning.Budget.of(latency="1500 us").latency_ms == 1.5
    with pytest.raises(pruning.BudgetError, match="cannot read the limit '12 %'"):
        pruning.Budget.of("12 %")


def test_two_budgets_leave_what_is_within_both() -> None:
    one = pruning.Budget(flash_bytes=100, latency_ms=2.0)
    other = pruning.Budget(flash_bytes=50, sram_bytes=7)
    both = pruning.Budget(flash_bytes=50, sram_bytes=7, latency_ms=2.0)
    assert one.intersect(other) == other.intersect(one) == both


@pytest.mark.parametrize("value", ["x", "100 %", 1.0, -0.1, None])
def test_a_margin_is_a_share_below_one(value: object) -> None:
    with pytest.raises(pruning.BudgetError, match="margin="):
        parse_margin(value)


# --- export


def test_an_export_is_a_folder_that_compiles_alone(
    model: pruning.PrunedModel, tmp_path: Path
) -> None:
    files = model.export(tmp_path / "firmware", name="kws")
    names = {file.name for file in files}
    assert names == {"kws.c", "kws.h", "kernels.c", "kernels.h", "main.c", "CMakeLists.txt",
                     "README.md"}  # fmt: skip
    assert "stm32f446" in (tmp_path / "firmware" / "kws.c").read_text()
    card = (tmp_path / "firmware" / "README.md").read_text()
    assert f"accuracy {model.score:.4f} for stm32f446" in card
    assert "kws_run()" in card


def test_an_export_takes_the_place_of_an_earlier_one(
    model: pruning.PrunedModel, tmp_path: Path
) -> None:
    model.export(tmp_path, name="one")
    (tmp_path / "mine.c").write_text("kept")
    model.export(tmp_path, "safetensors")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"model.safetensors", "README.md", "mine.c", NOTE}
    assert (tmp_path / "model.safetensors").read_bytes() == model.content


def test_an_export_spares_what_others_wrote(model: pruning.PrunedModel, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(pruning.OutputError, match=r"README\.md in .*not written by paring"):
        model.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    with pytest.raises(pruning.PruningError, match="format=elf: write one of safetensors"):
        model.export(tmp_path, "elf")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (make system-deps)",
)
def test_the_linked_firmware_holds_the_budget(model: pruning.PrunedModel) -> None:
    measured = model.verify()
    assert (measured.core, measured.mismatches) == ("cortex-m4", 0)
    assert measured.results == 8 * 4
    firmware = replace(model.cost, flash_bytes=measured.flash_bytes, sram_bytes=measured.sram_bytes)
    assert model.budget.holds(firmware)


def test_the_module_of_a_model_computes(model: pruning.PrunedModel) -> None:
    answers = model.module()(DATA.normalise(DATA.test.inputs[:3]))
    assert answers.shape == (3, 4)
