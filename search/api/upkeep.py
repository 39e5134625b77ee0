"""What is seldom done: joining a sweep, calibrating a device, looking after a workspace."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from pruning.budget import Device
from pruning.catalogue import devices
from search.api.compose import composed
from search.api.doctor import examined
from search.api.running import join
from search.api.serving import serve_from
from search.api.study import SweepStudy
from search.api.tidying import collected
from search.config.parse import checked_name
from search.config.schema import StorageConfig
from search.config.validate import validated
from search.errors import ConfigError
from search.results.calibrate import Quality, StoredGraphs, calibrated, observed, read_times
from search.results.verify import workers_for
from search.study.collect import Orphans


def work(name: str, overrides: Sequence[str] = ()) -> str | None:
    """Work on a study in this process, beside other workers anywhere, until all trials are over.

    Args:
        name: of the study.
        overrides: as of `paring worker`: "threads=2", "storage=postgres".

    Returns:
        Why it was left before that; None at its end.

    Raises:
        StudyError: there is no such study.

    Example:
        >>> import search
        >>> search.work("demo", ["storage=postgres"])  # doctest: +SKIP
    """
    return join(composed("worker", [f"study={checked_name(name)}", *overrides]))


def calibrate(
    device: Device | str,
    *,
    networks: int = 64,
    seed: int = 0,
    workers: int = 0,
    times: str | Path | None = None,
    study: SweepStudy | None = None,
) -> tuple[Device, Quality]:
    """A device whose latency estimate agrees with emulated cores, or with a board of your own.

    Args:
        device: a microcontroller, or the name of one.
        networks: random prunings that are counted on an emulated core (extra [verify] and
            arm-none-eabi-gcc), at least 2.
        seed: of these prunings.
        workers: networks at a time; 0: as many as there are cores.
        times: instead, a CSV file with the columns trial, latency_ms and, if known, kernel.
        study: whose trials those of `times` are.

    Returns:
        The device, with a `latency_margin` that covers what was measured, and how well it agrees.

    Raises:
        ConfigError: a file that cannot be read, or times that no margin covers. DeployError: a
            network cannot be built or run.

    Example:
        >>> import search
        >>> mine, quality = search.calibrate("stm32f446", networks=8)  # doctest: +SKIP
        >>> mine.latency_margin, quality.mean  # doctest: +SKIP
    """
    chip = devices.device(device) if isinstance(device, str) else device
    if times is None:
        if networks < 2:
            raise ConfigError(f"networks={networks}: a whole number of at least 2")
        counted = list(observed(chip, networks, seed, workers_for(workers)))
        return calibrated(chip, counted, board=False)
    if study is None:
        raise ConfigError(f"times={times}: of which study are its trials? Give study, too")
    return calibrated(chip, read_times(Path(times), StoredGraphs(study.study), chip), board=True)


def collect(overrides: Sequence[str] = ()) -> Orphans:
    """Remove files from the store that no study names and that are a day old.

    Args:
        overrides: as of `paring collect`: "older_h=48", "storage.folder=PATH".

    Returns:
        What was removed, and what is too young to be.

    Raises:
        StoreError: the store is another database's, too.

    Example:
        >>> import search
        >>> len(search.collect(["older_h=48"]).old)  # doctest: +SKIP
    """
    return collected(composed("collect", overrides))


def doctor(overrides: Sequence[str] = ()) -> pd.DataFrame:
    """Check everything that a sweep needs.

    Args:
        overrides: as of `paring doctor`: "storage.folder=PATH", "storage=postgres".

    Returns:
        A row a check: whether it is good, what was found, and the cure.

    Example:
        >>> import search
        >>> search.doctor().query("not good")  # doctest: +SKIP
    """
    storage = validated(composed("doctor", overrides).storage, StorageConfig, "storage")
    return pd.DataFrame(map(asdict, examined(storage))).set_index("what")


def serve(overrides: Sequence[str] = ()) -> None:
    """Serve MLflow's dashboard on the sweeps until the process is asked to stop.

    Args:
        overrides: as of `paring serve`: "study=demo", "port=5001", "storage.folder=PATH".

    Raises:
        ConfigError: a setting makes no sense, or there is a server already.

    Example:
        >>> import search
        >>> search.serve(["study=demo"])  # doctest: +SKIP
    """
    serve_from(composed("serve", overrides))
