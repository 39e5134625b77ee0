"""Networks as a microcontroller runs them: integers only, and the same ones everywhere."""

from pruning.deploy.backends.c import c_files
from pruning.deploy.evaluator import Evaluator
from pruning.deploy.integer_ir import IntegerNetwork
from pruning.deploy.lower import lower
from pruning.deploy.memory_plan import plan
from pruning.deploy.reference import reference
from pruning.deploy.supported import obstacles, require_deployable
from pruning.execution.calibration import calibrate

__all__ = [
    "Evaluator",
    "IntegerNetwork",
    "c_files",
    "calibrate",
    "lower",
    "obstacles",
    "plan",
    "reference",
    "require_deployable",
]
