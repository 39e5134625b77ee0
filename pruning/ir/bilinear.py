"""The work of one kernel as a function of the channels that it reads and writes."""

from typing import Any, NamedTuple


class BilinearForm(NamedTuple):
    """product * c_in * c_out + output * c_out + input * c_in + constant."""

    product: float = 0.0
    output: float = 0.0
    input: float = 0.0
    constant: float = 0.0

    def plus(self, other: "BilinearForm") -> "BilinearForm":
        """The sum of two forms."""
        return BilinearForm(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: float) -> "BilinearForm":
        """The form with every coefficient multiplied by a factor."""
        return BilinearForm(*(factor * part for part in self))

    def at(self, c_in: Any, c_out: Any) -> Any:
        """The value at `c_in` channels read and `c_out` written: numbers or arrays."""
        return self.product * c_in * c_out + self.output * c_out + self.input * c_in + self[3]
