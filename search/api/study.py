"""A sweep as people look at it from Python: its front, its models, how it stands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pandas as pd
import plotly.graph_objects as go
import torch

from pruning.budget import RESOURCES, Budget, Device, parse_margin
from pruning.catalogue import devices
from search.api.control import Cancelled, cancel
from search.api.models import TrialModel
from search.errors import ConfigError
from search.results.best import best_trial
from search.results.export import finished_trial
from search.results.mlflow_sync import reconcile
from search.results.model_report import model_report, write_report
from search.results.report import measured_record, study_record
from search.results.rerun import Again, rerun, threads_of
from search.results.status import StudyStatus, study_status
from search.results.verify import Verified, to_verify, verify, workers_for
from search.study.budgets import FIELDS
from search.study.command import Command
from search.study.control import send
from search.study.factory import SweepFactory
from search.study.study import Study
from tracking.mlflow.mirror import Written
from tracking.pages.figures import front_figure
from tracking.pages.plot_layout import PANELS
from tracking.records import StudyRecord
from tracking.tables import front_rows

SOURCES: Mapping[str, Callable[[Study], StudyRecord]] = {
    "estimated": study_record,
    "measured": measured_record,
}


@final
@dataclass(frozen=True, slots=True, eq=False)
class SweepStudy:
    """A study: one sweep, under way or over. `sweep` and `load_study` give one.

    Args:
        study: its trials, in Optuna's database.

    Example:
        >>> import search
        >>> study = search.load_study("demo")  # doctest: +SKIP
        >>> study.front()[["score", "flash_bytes", "latency_ms"]]  # doctest: +SKIP
        >>> study.figure()  # doctest: +SKIP
        >>> study.pick(device="stm32f103").export("firmware")  # doctest: +SKIP
    """

    study: Study

    @property
    def name(self) -> str:
        """Its name."""
        return self.study.name

    def front(self, source: str = "estimated") -> pd.DataFrame:
        """The trials that are on any front, the smallest flash first.

        Args:
            source: of the costs: "estimated", or "measured" by `verify`, for trials that were.

        Returns:
            A row a trial, by its number: scores, costs in bytes, milliseconds and
            multiply-accumulates, limits of its budget, the fronts that it is on, and widths.

        Raises:
            ConfigError: there is no such source. StudyError: nothing was measured.
        """
        if source not in SOURCES:
            raise ConfigError(f"source={source}: write one of {', '.join(SOURCES)}")
        rows = front_rows(SOURCES[source](self.study))
        return pd.DataFrame(rows, columns=None if rows else ["trial"]).set_index("trial")

    def figure(self, resource: str = "flash") -> go.Figure:
        """The front as a plotly figure, which a notebook shows: score against a resource, with
        dominated trials, every trial's budget, the dense network and the device's limit.

        Args:
            resource: "flash", "sram" or "latency".

        Raises:
            ConfigError: there is no such resource.
        """
        panels = {FIELDS[panel.resource]: panel for panel in PANELS}
        if resource not in panels:
            raise ConfigError(f"resource={resource}: write one of {', '.join(panels)}")
        return go.Figure(front_figure(study_record(self.study), panels[resource]))

    def pick(
        self,
        device: Device | str | None = None,
        *,
        flash: str | float | None = None,
        sram: str | float | None = None,
        latency: str | float | None = None,
        margin: str | float = 0,
    ) -> TrialModel:
        """The best model whose firmware stays within limits; of equal scores the cheapest.

        Args:
            device: a microcontroller, or the name of one; its memory is a limit, and costs are
                those on it. None: the study's own device, and only the limits below.
            flash: "32 KiB", or a number of bytes.
            sram: likewise.
            latency: "20 ms", or a number of milliseconds.
            margin: by which a measurement may exceed its estimate, such as "10%".

        Raises:
            NothingFitsError: no finished trial is within the limits; the message names the
                nearest. ConfigError: there is neither a device nor a limit. BudgetError: a limit
                that cannot be read. DeviceError: there is no device of this name.
        """
        chip, limits = _wanted(device, Budget.of(flash, sram, latency))
        if not limits.limits:
            raise ConfigError("pick: for what? give a device, or flash='32 KiB' and the like")
        limits = limits.with_margins(dict.fromkeys(limits.limits, parse_margin(margin)))
        return TrialModel(self.study, *best_trial(self.study, limits, chip))

    def report(
        self,
        file: str | Path = "report.html",
        device: Device | str | None = None,
        *,
        flash: str | float | None = None,
        sram: str | float | None = None,
        latency: str | float | None = None,
        margin: str | float = 0,
    ) -> Path:
        """Write a page for a colleague on the model that `pick` gives by the same arguments; with
        neither a device nor a limit, on the best one for the study's own device.

        Args:
            file: where to; one that ends in .pdf is printed by the system's Chromium.
            device: as `pick` takes it, and so on.
            flash: likewise.
            sram: likewise.
            latency: likewise.
            margin: likewise.

        Returns:
            The file, which is whole.

        Raises:
            NothingFitsError: as `pick`, and the other errors. OutputError: a file of somebody else
                is in the way. TrackingError: there is no browser that prints.
        """
        chip, limits = _wanted(device, Budget.of(flash, sram, latency))
        page = model_report(self.study, limits, chip, parse_margin(margin))
        return write_report(Path(file), page)

    def model(self, number: int) -> TrialModel:
        """The model of a finished trial.

        Raises:
            StudyError: there is no such trial, or it has no model.
        """
        record = study_record(self.study)
        return TrialModel(self.study, record, finished_trial(record, number))

    def verify(
        self, number: int | None = None, device: Device | str | None = None, workers: int = 0
    ) -> pd.DataFrame:
        """Compile models for a core, run them on an emulated one, and compare every result (extra
        [verify] and arm-none-eabi-gcc). What is measured on the study's own device is kept.

        Args:
            number: of a finished trial; None: all of the front.
            device: a microcontroller, or the name of one; None: the study's own.
            workers: models at a time; 0: as many as there are cores. They are processes: a
                script needs `if __name__ == "__main__":`.

        Returns:
            A row a trial, by its number: what was measured (bytes, milliseconds, instructions), by
            how much the estimates are off, `mismatches`, which should be 0, and the resources
            that are over the budget, which should be none.

        Raises:
            DeployError: a model has no C, or cannot be built or run. StudyError: there is no such
                trial.
        """
        chip = devices.device(device) if isinstance(device, str) else device
        chip = chip or SweepFactory(self.study.spec).device
        trials = to_verify(study_record(self.study), number)
        found = verify(self.study, trials, chip, workers_for(workers))
        return pd.DataFrame(map(_row, found)).set_index("trial")

    def status(self) -> StudyStatus:
        """How the study stands: trials by state, who works on what, failures, the pace."""
        return study_status(self.study)

    def pause(self) -> None:
        """Let all workers, on any machine, leave their trials at the next batch, and wait."""
        send(self.study, Command.PAUSE, "paused")

    def resume(self) -> None:
        """Let workers that wait go on; `sweep` starts some where there are none."""
        send(self.study, Command.GO)

    def cancel(self) -> Cancelled:
        """Give up every trial that is not over; what is finished stays."""
        return cancel(self.study)

    def rerun(self, number: int) -> Again:
        """Train a finished trial again, and compare every number with what was stored.

        Raises:
            StudyError: the trial has not finished, or its data have changed.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(threads_of(self.study, number))
        try:
            *_, last = rerun(self.study, number)
        finally:
            torch.set_num_threads(before)
        if not isinstance(last, Again):
            raise TypeError(f"the rerun of trial {number} ended with {last!r}")
        return last

    def reconcile(self) -> Written:
        """Make MLflow agree with the study; returns what had to be written.

        Raises:
            TrackingError: MLflow is out of reach.
        """
        return reconcile(self.study)


def _wanted(device: Device | str | None, limits: Budget) -> tuple[Device | None, Budget]:
    """The device, and what it and other limits leave."""
    chip = devices.device(device) if isinstance(device, str) else device
    return chip, limits if chip is None else limits.intersect(chip.budget)


def _row(line: Verified) -> dict[str, object]:
    return {
        "trial": line.trial.number,
        **{name: line.measured_costs[name] for name in RESOURCES},
        "stack_bytes": line.measured.stack_bytes,
        "instructions": line.measured.instructions,
        **{f"{name}_error": line.errors[name] for name in RESOURCES},
        "results": line.measured.results,
        "mismatches": line.measured.mismatches,
        "over": ", ".join([*line.over, *(f"{name} of the device" for name in line.too_big)]),
    }
