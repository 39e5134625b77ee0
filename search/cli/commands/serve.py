"""`paring serve`: MLflow's own dashboard on the sweeps."""

from omegaconf import DictConfig

from search.cli.app import verb
from search.cli.options import flag
from search.config.parse import checked_name
from search.config.schema import StorageConfig
from search.config.validate import validated
from search.errors import ConfigError
from search.results.mlflow_sync import catch_up
from search.storage.workspace import open_workspace
from search.study.study import require_study
from tracking.mlflow.server import serve


@verb("serve")
def main(config: DictConfig) -> None:
    """Run the verb."""
    if type(config.port) is not int:  # true is an int, too
        raise ConfigError(f"port={config.port}: write a number from 1 to 65535, such as 5000")
    workspace = open_workspace(validated(config.storage, StorageConfig, "storage"), create=False)
    if workspace.config.tracking_uri is not None:
        raise ConfigError(
            f"storage.tracking_uri={workspace.config.tracking_uri}: there is a server already; "
            "open it in a browser"
        )
    key = None
    if config.study is not None:
        study = require_study(workspace, checked_name(config.study))
        catch_up(study)
        key = study.key
    users = workspace.databases.users if flag(config.login, "login") else None
    serve(
        workspace.databases.mlflow,
        workspace.folder / "artifacts",
        config.host,
        config.port,
        key,
        users,
    )
