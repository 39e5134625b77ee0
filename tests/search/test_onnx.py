"""The ONNX export computes what the network does, for any batch size."""

import numpy as np
import onnxruntime
import pytest
import torch

from pruning import models
from pruning.export.formats import FORMATS, Source
from pruning.frontend.trace import trace
from pruning.training.checkpoint import pack_network, unpack_network


class Quoted(torch.nn.Module):
    """A layer whose name is code to whoever writes it into code as it is."""

    def __init__(self):
        super().__init__()
        self.add_module('"), exit(1), ("', torch.nn.Conv2d(3, 4, 3))
        self.add_module("0/Gemm", torch.nn.Linear(4, 5))
        self.classifier = torch.nn.Linear(5, 3)

    def forward(self, x):
        layer, hidden = (getattr(self, name) for name in ('"), exit(1), ("', "0/Gemm"))
        return self.classifier(hidden(layer(x).mean((2, 3))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "shape"),
    [(models.resnet8, (3, 16, 16)), (models.ds_cnn, (1, 49, 10)), (Quoted, (3, 6, 6))],
)
def test_onnx_gives_the_same_outputs(make, shape):
    torch.manual_seed(0)
    net = make()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    torch.nn.init.normal_(net.classifier.weight)
    graph = trace(net, torch.zeros(shape))
    stored = unpack_network(pack_network(graph, net.state_dict(), {}))
    session = onnxruntime.InferenceSession(
        FORMATS["onnx"].files(stored, b"", Source("model", ()))["model.onnx"]
    )
    batch = torch.randn(5, *shape)
    (found,) = session.run(None, {"input": batch.numpy()})
    expected = net.eval()(batch).detach().numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
