"""Records whose fields are all mandatory: nothing about a kind is decided by default."""

from dataclasses import fields
from typing import Any, Self


class Complete:
    """A dataclass of which every field has to be given."""

    __slots__ = ()

    def __new__(cls, *_: Any, **values: Any) -> Self:
        """Refuse to make a record with missing fields.

        Raises:
            TypeError: the message has the record's `name`, or that of the class which its
                `record` is, and the missing fields.
        """
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        if missing := [name for name in names if name not in values]:
            named = values.get("name") or getattr(values.get("record"), "__name__", cls.__name__)
            raise TypeError(f"{named}: {cls.__name__} needs {', '.join(missing)}")
        return object.__new__(cls)
