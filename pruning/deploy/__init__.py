"""Networks as a microcontroller runs them: integers only, and the same ones everywhere."""

from pruning.deploy.c_code import c_files
from pruning.deploy.deployable import obstacles, require_deployable
from pruning.deploy.evaluate import Evaluator
from pruning.deploy.integer import IntegerNetwork
from pruning.deploy.lower import lower
from pruning.deploy.plan import plan
from pruning.deploy.ranges import calibrate
from pruning.deploy.reference import reference

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
