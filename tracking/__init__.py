"""Studies as people look at them: MLflow runs, plots, the model registry, databases."""

from tracking.address import Databases, locate, mask
from tracking.database import Content, check, prepare
from tracking.errors import (
    AddressError,
    BusyError,
    DatabaseError,
    ForeignError,
    GoneError,
    LockedError,
    RegistryError,
    ServerError,
    TrackingError,
    UnreachableError,
)
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
    Scalar,
    SlotRecord,
    State,
    StudyRecord,
)
from tracking.registry import register
from tracking.server import serve, serving
from tracking.tables import front_csv, front_object, front_rows

__all__ = [
    "RESOURCES",
    "AddressError",
    "BusyError",
    "Content",
    "Costs",
    "DatabaseError",
    "Databases",
    "DenseRecord",
    "DeviceRecord",
    "EpochRow",
    "ForeignError",
    "GoneError",
    "Limits",
    "LockedError",
    "Mirror",
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
    "register",
    "serve",
    "serving",
]
