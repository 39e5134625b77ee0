"""Studies as people look at them: MLflow runs, plots, the model registry, databases."""

from tracking.address import Databases, locate, mask
from tracking.database import Content, check, prepare
from tracking.errors import (
    AddressError,
    BusyError,
    DamagedError,
    DatabaseError,
    ForeignError,
    GoneError,
    LockedError,
    RegistryError,
    ServerError,
    TrackingError,
    UnreachableError,
)
from tracking.explanation import Explanation, read_explanation
from tracking.locks import lock
from tracking.mirror import Mirror
from tracking.plots import front_page
from tracking.records import (
    RESOURCES,
    Costs,
    DenseRecord,
    DeviceRecord,
    EpochRow,
    Limits,
    PickRecord,
    Scalar,
    SlotRecord,
    State,
    StudyRecord,
)
from tracking.registry import register
from tracking.server import serve, serving
from tracking.tables import front_csv, front_object, front_rows
from tracking.why import why_page

__all__ = [
    "RESOURCES",
    "AddressError",
    "BusyError",
    "Content",
    "Costs",
    "DamagedError",
    "DatabaseError",
    "Databases",
    "DenseRecord",
    "DeviceRecord",
    "EpochRow",
    "Explanation",
    "ForeignError",
    "GoneError",
    "Limits",
    "LockedError",
    "Mirror",
    "PickRecord",
    "RegistryError",
    "Scalar",
    "ServerError",
    "SlotRecord",
    "State",
    "StudyRecord",
    "TrackingError",
    "UnreachableError",
    "check",
    "front_csv",
    "front_object",
    "front_page",
    "front_rows",
    "locate",
    "lock",
    "mask",
    "prepare",
    "read_explanation",
    "register",
    "serve",
    "serving",
    "why_page",
]
