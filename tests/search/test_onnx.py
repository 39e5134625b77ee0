"""The ONNX export computes what the network does, for any batch size."""

import numpy as np
import onnxruntime
import pytest
import torch

from pruning import models
from pruning.checkpoint import pack_network, unpack_network
from pruning.trace import trace
from search.formats import FORMATS


@pytest.mark.parametrize(
    ("make", "shape"), [(models.resnet8, (3, 16, 16)), (models.ds_cnn, (1, 49, 10))]
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
    session = onnxruntime.InferenceSession(FORMATS["onnx"].files(stored, b"")["model.onnx"])
    batch = torch.randn(5, *shape)
    (found,) = session.run(None, {"input": batch.numpy()})
    expected = net.eval()(batch).detach().numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
