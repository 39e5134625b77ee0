"""Studies as people look at them: MLflow runs, plots, the model registry, databases."""

from tracking.databases.database import Content, check, prepare
from tracking.databases.locks import lock
from tracking.databases.urls import Databases, locate, mask
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
from tracking.evaluation import Classification, Detection, Evaluation, Regression
from tracking.evaluation_file import evaluations_to_json, read_evaluations
from tracking.explanation import Explanation, read_explanation
from tracking.mlflow.mirror import Mirror
from tracking.mlflow.registry import register
from tracking.mlflow.server import serve, serving
from tracking.pages.plots import front_page
from tracking.pages.why import why_page
from tracking.records import (
    RESOURCES,
    ChoicesRecord,
    Costs,
    DenseRecord,
    DeviceRecord,
    EpochRow,
    Limits,
    OptionRecord,
    PickRecord,
    Scalar,
    State,
    StudyRecord,
    TrialRecord,
)
from tracking.tables import front_csv, front_object, front_rows

__all__ = [
    "RESOURCES",
    "AddressError",
    "BusyError",
    "ChoicesRecord",
    "Classification",
    "Content",
    "Costs",
    "DamagedError",
    "DatabaseError",
    "Databases",
    "DenseRecord",
    "Detection",
    "DeviceRecord",
    "EpochRow",
    "Evaluation",
    "Explanation",
    "ForeignError",
    "GoneError",
    "Limits",
    "LockedError",
    "Mirror",
    "OptionRecord",
    "PickRecord",
    "RegistryError",
    "Regression",
    "Scalar",
    "ServerError",
    "State",
    "StudyRecord",
    "TrackingError",
    "TrialRecord",
    "UnreachableError",
    "check",
    "evaluations_to_json",
    "front_csv",
    "front_object",
    "front_page",
    "front_rows",
    "locate",
    "lock",
    "mask",
    "prepare",
    "read_evaluations",
    "read_explanation",
    "register",
    "serve",
    "serving",
    "why_page",
]
