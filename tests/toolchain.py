"""The compiler that tests of firmware need."""

from pruning.cost.cores import core_named

COMPILER = core_named("cortex-m4").toolchain.compiler
