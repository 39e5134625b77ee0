"""The same codes as the reference's, with torch: a whole validation set in seconds."""

from typing import final

import torch
from torch import Tensor

from pruning.deploy.context.exact_torch import ExactTorch
from pruning.deploy.integer_ir import HIGH, LOW, IntegerNetwork
from pruning.deploy.kernels.registry import family_of
from pruning.ir.operator import INPUT


@final
class Evaluator:
    """An integer network on batches of real inputs; it gives real outputs.

    Inside, values are codes above their zero points, as floating-point numbers.
    """

    def __init__(self, network: IntegerNetwork, device: str | torch.device = "cpu") -> None:
        self.network = network
        exact = ExactTorch(network, torch.device(device))
        self._functions = {
            kernel.name: family_of(kernel).torch_function(kernel, exact)
            for kernel in network.kernels
        }
        self._constants = {
            name: exact.tensor(codes).float().reshape(1, *network.shapes[name])
            - network.codes[name].zero_point
            for name, codes in network.constants.items()
        }

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs in real units; (batch, channels, height, width), or (batch, channels)."""
        network, values = self.network, {**self._constants, INPUT: self._steps(batch)}
        last_reader = {name: k.name for k in network.kernels for name in k.inputs}
        for kernel in network.kernels:
            zero = network.codes[kernel.output].zero_point
            operands = [
                values[name].reshape(-1, *shape)
                for name, shape in zip(kernel.inputs, kernel.reads, strict=True)
            ]
            result = self._functions[kernel.name](*operands)
            values[kernel.output] = result.clamp_(kernel.low - zero, kernel.high - zero)
            for name in set(kernel.inputs) - set(network.outputs):
                if last_reader[name] == kernel.name:
                    values.pop(name, None)
        outputs = tuple(
            values[name].reshape(-1, *shape) * network.codes[name].scale
            for name, shape in zip(network.outputs, network.shown, strict=True)
        )
        return outputs[0] if len(outputs) == 1 else outputs

    def _steps(self, batch: Tensor) -> Tensor:
        """Real inputs as codes above their zero point."""
        code = self.network.codes[INPUT]
        codes = (batch.double() / code.scale).round_() + code.zero_point
        steps = codes.clamp_(LOW, HIGH) - code.zero_point
        return steps.float().reshape(-1, *self.network.shapes[INPUT])
