"""A trial's network out of MLflow, without the study that it is from."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tracking.errors import ServerError
from tracking.mlflow.client import Client
from tracking.mlflow.logged_model import DATA, MODEL_TAG, NETWORK


def network_of(tracking_uri: str, run_id: str) -> bytes:
    """Return the file of the network of a finished trial's run.

    Raises:
        ServerError: MLflow is out of reach, or has no such run, or the run has no network.
    """
    # Here and not above: importing MLflow takes seconds.
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client = Client(tracking_uri)
    with client.answering():
        run = client.api.get_run(run_id)
        place, path = run.info.artifact_uri, NETWORK
        if (model_id := run.data.tags.get(MODEL_TAG)) is not None:
            place = client.api.get_logged_model(model_id).artifact_location
            path = f"{DATA}/{NETWORK}"
    with TemporaryDirectory(prefix="paring-") as folder:
        repository: Any = get_artifact_repository(place, tracking_uri)
        try:
            return Path(repository.download_artifacts(path, folder)).read_bytes()
        except (MlflowException, OSError) as error:
            raise ServerError(
                f"run={run_id}: {NETWORK} is not among its artifacts ({type(error).__name__}); "
                "give the run of a trial that is finished, as paring front output=json lists them"
            ) from error
