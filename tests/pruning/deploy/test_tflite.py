"""Files of TensorFlow Lite give the arbiter's codes in tflite-micro, and load in LiteRT."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
import tflite
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pruning.deploy import IntegerNetwork, reference
from pruning.deploy.backends.tflite import tflite_file
from pruning.deploy.toolchain.tflm import Interpreted, interpret, run
from pruning.errors import DeployError, EmulatorError
from tests.pruning.deploy.drawn import deployable
from tests.pruning.deploy.lowered import DEPLOYED, ZOO, drawn, lowered, traced
from tests.pruning.random_networks import FEW

NO_OPERATOR = {
    "autoencoder": "sigmoid",
    "both-signs": "affine",
    "channels-last": "carries elements around",
    "constants": "affine",
    "excite": "sigmoid",
    "expanded-gate": "sigmoid",
    "gates": "sigmoid",
    "heads": "sigmoid",
    "in-place": "affine",
    "inverted": "hardswish",
    "partial-stages": "silu",
    "rows": "carries elements around",
    "space-to-depth": "carries elements around",
    "super-resolution": "tanh",
    "three-ways": "gelu",
    "time-major": "carries elements around",
    "transposed-depthwise": "groups or dilation",
    "waves": "gelu",
    "wide-and-deep": "sigmoid",
}
WRITTEN = [name for name in DEPLOYED if name not in NO_OPERATOR]

needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is not installed (extra [tflm])"
)


def network_of(name: str) -> IntegerNetwork:
    graph, tensors = traced(name)
    return lowered(graph, tensors, drawn(graph, 4))


def zoo_network(small, name: str) -> IntegerNetwork:
    graph, model = small(name)
    return lowered(graph, model.state_dict(), drawn(graph, 2))


def codes_for(network: IntegerNetwork, count: int = 3) -> np.ndarray:
    shape = (count, *network.shapes["input"])
    return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)


def assert_exact(network: IntegerNetwork) -> Interpreted:
    found = interpret(network, codes_for(network))
    assert found.results == 3 * sum(np.prod(network.shapes[n]) for n in network.outputs)
    assert found.mismatches == 0
    return found


def operators(content: bytes) -> list[int]:
    graph = tflite.Model.GetRootAs(content, 0).Subgraphs(0)
    codes = tflite.Model.GetRootAs(content, 0)
    return [
        codes.OperatorCodes(graph.Operators(n).OpcodeIndex()).BuiltinCode()
        for n in range(graph.OperatorsLength())
    ]


@needs_tflm
@pytest.mark.parametrize("name", WRITTEN)
def test_every_network_gives_the_same_codes(name):
    assert_exact(network_of(name))


@needs_tflm
@pytest.mark.parametrize("name", ZOO)
def test_zoo_models_give_the_same_codes(small, name):
    found = assert_exact(network := zoo_network(small, name))
    assert tflite.BuiltinOperator.TRANSPOSE not in operators(tflite_file(network))
    layers = [kernel for kernel in network.kernels if hasattr(kernel, "weight")]
    channels = sum(len(layer.weight) for layer in layers)  # bias, scale and zero point of each
    stored = sum(layer.weight.size for layer in layers) + channels * (4 + 4 + 8)
    assert stored < found.file_bytes < stored + 600 * len(network.kernels)
    assert found.flash_bytes == found.file_bytes + 96_500


@pytest.mark.slow
@needs_tflm
@settings(FEW, max_examples=12)
@given(deployable())
def test_odd_networks_give_the_same_codes(network):
    assert_odd_one_is_exact(network)


@needs_tflm
@pytest.mark.exhaustive
@settings(FEW, max_examples=30)
@given(deployable(steps=8), st.integers(0, 3))
def test_many_odd_networks_give_the_same_codes(network, seed):
    assert_odd_one_is_exact(network, seed)


def assert_odd_one_is_exact(network, seed: int = 0) -> None:
    whole = lowered(network.graph, network.tensors(), drawn(network.graph, 3, seed))
    try:
        tflite_file(whole)
    except DeployError:
        assume(False)
    assert_exact(whole)


@pytest.mark.parametrize("name", NO_OPERATOR)
def test_what_has_no_operator_is_refused_by_name(name):
    with pytest.raises(DeployError, match=f"{NO_OPERATOR[name]}.*format=c has all of them"):
        tflite_file(network_of(name))


@needs_tflm
@pytest.mark.parametrize("damage", ["cut", "emptied", "scrambled", "other"])
def test_a_damaged_file_is_told(damage):
    network = network_of("residual")
    content = tflite_file(network)
    damaged = {
        "cut": content[: len(content) // 3],
        "emptied": b"",
        "scrambled": content[:200] + bytes(len(content) - 200),
        "other": b"PK\x03\x04" + content[4:8].replace(b"TFL3", b"nope") + content[8:],
    }[damage]
    with pytest.raises(EmulatorError, match=r"tflite-micro does not run this file of \d+ bytes"):
        run(damaged, codes_for(network))


@needs_tflm
def test_an_interpreter_that_hangs_is_ended():
    network = network_of("residual")
    with pytest.raises(EmulatorError, match=r"did not end within 0\.001 s"):
        run(tflite_file(network), codes_for(network), timeout_s=0.001)


@pytest.mark.skipif(
    find_spec("ai_edge_litert") is None, reason="LiteRT is not installed (ai-edge-litert)"
)
@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "mobilenet_v2"])
def test_litert_loads_it(small, name):
    """Its own kernels round in other ways: some codes differ by one."""
    from ai_edge_litert.interpreter import Interpreter

    network = zoo_network(small, name)
    codes = codes_for(network)
    interpreter = Interpreter(model_content=tflite_file(network))
    interpreter.allocate_tensors()
    (given_,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    code = network.codes["input"]
    assert given_["quantization"] == (np.float32(code.scale), code.zero_point)
    wanted = reference(network, codes)[network.outputs[0]]
    for sample, answer in zip(codes, wanted, strict=True):
        interpreter.set_tensor(given_["index"], np.moveaxis(sample, 0, -1)[None])
        interpreter.invoke()
        found = interpreter.get_tensor(made["index"]).astype(int)
        assert np.abs(found.ravel() - answer.astype(int).ravel()).max() <= 2


def test_nothing_that_a_chip_does_not_read_is_in_the_file():
    content = tflite_file(network_of("residual"))
    model = tflite.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    assert model.Description() is None
    assert model.MetadataLength() == model.SignatureDefsLength() == 0
    assert all(graph.Tensors(n).Name() is None for n in range(graph.TensorsLength()))
    assert not re.search(rb"[a-z]{5}", content)
