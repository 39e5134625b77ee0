"""Networks of integers, and inputs to run them on."""

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from pruning.deploy import Evaluator, IntegerNetwork, calibrate, lower, reference
from pruning.frontend.trace import tensors_of, trace
from pruning.graph.graph import Graph
from tests.pruning.networks import NETWORKS, build

REFUSED = {
    "decoder": "first (conv_transpose): reads a flattened feature map",
    "bilinear-unet": "(resize): has no integer kernel",
    "plain": "(softmax): has no integer kernel",
    "layer-scale": "(group_norm): has no integer kernel",
    "next-blocks": "(group_norm): has no integer kernel",
    "spatial-attention": "(reduce): has no integer kernel",
    "normalised": "(reduce): has no integer kernel",
    "group-norms": "(group_norm): has no integer kernel",
    "maxout": "maximum (maximum): has no integer kernel",
    "attention": "(softmax): has no integer kernel",
    "face": "the output is a flattened feature map",
    "detail": "divides by a value; only by constants",
    "norm-of-means": "norm (group_norm): has no integer kernel",
}
ZOO = ["resnet8", "resnet20", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"]
DEPLOYED = sorted(set(NETWORKS) - set(REFUSED))


def traced(name: str) -> tuple[Graph, dict[str, torch.Tensor]]:
    model, shape = build(name)
    return trace(model, torch.zeros(shape)), tensors_of(model)


def lowered(graph, tensors, inputs):
    return lower(graph, tensors, calibrate(graph, tensors, inputs))


def drawn(graph: Graph, count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *graph.input_shape, generator=generator)


def evaluated_alike(network: IntegerNetwork, inputs: torch.Tensor) -> None:
    """The evaluator's outputs are the arbiter's, to the last bit."""
    values = reference(network, network.quantized(inputs.numpy()))
    found = tree_leaves(Evaluator(network)(inputs))
    assert len(found) == len(network.outputs)
    for name, output in zip(network.outputs, found, strict=True):
        code = network.codes[name]
        codes = np.rint(output.double().numpy() / code.scale) + code.zero_point
        np.testing.assert_array_equal(codes.ravel(), values[name].ravel())
