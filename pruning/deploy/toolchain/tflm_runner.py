"""TensorFlow Lite for Microcontrollers on this machine, as a program of its own:

python interpreter.py MODEL CODES RESULTS: a .tflite file, its inputs (.npy), and where all
outputs go, one behind the other (.npy). It needs nothing else of this package.
"""

import sys

import numpy as np
from numpy.typing import NDArray
from tflite_micro.python.tflite_micro import runtime

ARENA_BYTES = 64 << 20


def main(model: str, codes: str, results: str) -> None:
    """Run the model on every input; what it allocates is told on standard error."""
    interpreter = runtime.Interpreter.from_file(model, arena_size=ARENA_BYTES)
    interpreter.print_allocations()
    inputs, outputs = np.load(codes, allow_pickle=False), []
    for sample in inputs:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        outputs.append([value.ravel() for value in _outputs(interpreter)])
    parts = [np.concatenate(values) for values in zip(*outputs, strict=True)]
    np.save(results, np.concatenate(parts), allow_pickle=False)


def _outputs(interpreter: runtime.Interpreter) -> list[NDArray[np.int8]]:
    """All outputs, as many as there are."""
    values: list[NDArray[np.int8]] = []
    while True:
        try:
            values.append(interpreter.get_output(len(values)).copy())
        except (IndexError, RuntimeError, ValueError):
            return values


if __name__ == "__main__":
    main(*sys.argv[1:])
