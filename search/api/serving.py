"""MLflow's own dashboard on the sweeps of a workspace."""

from omegaconf import DictConfig

from search.api.opened import study_of, workspace_of
from search.config.parse import flag
from search.errors import ConfigError
from search.results.mlflow_sync import catch_up
from tracking.mlflow.server import serve


def serve_from(config: DictConfig) -> None:
    """Serve the dashboard that a config describes until the process is asked to stop.

    Raises:
        ConfigError: a setting makes no sense. StudyError: there is no such study.
    """
    if type(config.port) is not int:  # true is an int, too
        raise ConfigError(f"port={config.port}: write a number from 1 to 65535, such as 5000")
    workspace = workspace_of(config)
    if workspace.config.tracking_uri is not None:
        raise ConfigError(
            f"storage.tracking_uri={workspace.config.tracking_uri}: there is a server already; "
            "open it in a browser"
        )
    key = None
    if config.study is not None:
        study = study_of(config)
        catch_up(study)
        key = study.key
    users = workspace.databases.users if flag(config.login, "login") else None
    serve(
        workspace.databases.mlflow,
        workspace.artifacts,
        config.host,
        config.port,
        key,
        users,
        flag(config.open, "open"),
    )
