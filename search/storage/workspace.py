"""Where studies live: two databases, a store of blobs, and a folder for logs."""

import socket
import warnings
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from search.config.parse import http_address
from search.config.places import is_address, local_folder
from search.config.schema import StorageConfig
from search.errors import ConfigError, StudyError
from search.storage.blobs import Backend, Folder, Store
from search.storage.optuna_adapter import TrialStorage
from search.storage.remote import Remote
from tracking.databases.database import prepare
from tracking.databases.locks import lock
from tracking.databases.urls import Databases, locate

SQLITE_WAIT_S = 60


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where studies live: databases, store and folders."""

    config: StorageConfig
    databases: Databases

    @property
    def folder(self) -> Path:
        """The local folder for logs and pages, and for the store unless that is at an address."""
        return local_folder(self.config.folder)

    @property
    def store(self) -> Store:
        """The blobs."""
        return Store(backend_of(self.config.folder))

    @property
    def tracking_uri(self) -> str:
        """Where MLflow is: a server, or its database."""
        return self.config.tracking_uri or self.databases.mlflow

    @property
    def artifacts(self) -> Path | str:
        """Where MLflow's artifacts go without a server, and from one that `paring serve` starts:
        beside the store, where MLflow can write there.
        """
        beside = Remote(self.config.folder).artifacts if is_address(self.config.folder) else None
        return beside or self.folder / "artifacts"

    @property
    def place(self) -> str:
        """Where the databases are, for people and for marks in the store. Machines that share a
        store may each have databases of their own in the same place.
        """
        place = self.databases.place
        own = is_address(self.config.folder) and self.databases.of_one_machine
        return f"{place} of {socket.gethostname()}" if own else place

    def lock(self, name: str, timeout: float | None = 60.0) -> Any:
        """A mutex between all processes that use this workspace."""
        return lock(self.databases, name, timeout)


def backend_of(folder: str) -> Backend:
    """What holds the blobs of a workspace with this `storage.folder`.

    Raises:
        ConfigError: it is an address that cannot be used.
    """
    return Remote(folder) if is_address(folder) else Folder(local_folder(folder) / "store")


def open_workspace(config: StorageConfig, create: bool = True) -> Workspace:
    """Locate the databases, and create those that are missing.

    Raises:
        ConfigError: a setting makes no sense. StudyError: there are no studies, and `create` is
            false. DatabaseError: a database cannot be used.
    """
    if config.url is not None and "://" not in config.url:
        raise ConfigError(  # without the value, which may hold a password
            "storage.url: not a URL; write postgresql://HOST:PORT/DATABASE, or leave it "
            "out and give storage.folder for SQLite files"
        )
    http_address(config.tracking_uri, "storage.tracking_uri")
    backend_of(config.folder)
    if config.heartbeat_s < 1 or config.lease_s <= config.heartbeat_s:
        raise ConfigError(
            f"storage.heartbeat_s={config.heartbeat_s} storage.lease_s={config.lease_s}: a "
            "heartbeat takes at least 1 second, and the lease must be longer"
        )
    for name in ("checkpoint_s", "outage_s"):
        if not 0 <= (seconds := getattr(config, name)) < inf:
            raise ConfigError(f"storage.{name}={seconds}: a number of seconds, at least 0")
    databases = locate(config.url or local_folder(config.folder), config.schema)
    if not create and databases.folder and not (databases.folder / "optuna.db").exists():
        raise StudyError(
            f"there are no studies in {databases.folder}; run this where the sweep ran, or "
            "give its storage.folder"
        )
    prepare(databases)
    return Workspace(config, databases)


def tracking_uri_of(config: StorageConfig) -> str:
    """Where MLflow is, without a look at the studies' database, which may be lost.

    Raises:
        ConfigError: a setting makes no sense. StudyError: there is no MLflow.
    """
    http_address(config.tracking_uri, "storage.tracking_uri")
    databases = locate(config.url or local_folder(config.folder), config.schema)
    if config.tracking_uri is not None:
        return config.tracking_uri
    if databases.folder and not (databases.folder / "mlflow.db").exists():
        raise StudyError(
            f"there is no MLflow in {databases.folder}; run this where the sweep ran, or give "
            "its storage.folder, or storage.tracking_uri"
        )
    return databases.mlflow


def open_storage(workspace: Workspace) -> TrialStorage:
    """Optuna's storage, with heartbeats; it waits for locks and survives a server's restart."""
    url = workspace.databases.optuna
    options: dict[str, Any] = (
        {"connect_args": {"timeout": SQLITE_WAIT_S}}
        if url.startswith("sqlite")
        else {"pool_pre_ping": True}
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Under a lock: one process alone may create the tables.
    with workspace.lock("optuna-tables"), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats
        storage = RDBStorage(
            url,
            engine_kwargs=options,
            heartbeat_interval=workspace.config.heartbeat_s,
            grace_period=workspace.config.lease_s,
        )
    return TrialStorage(storage)
