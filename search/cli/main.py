"""`paring VERB [hydra overrides]`: finds the verb, and turns errors into one clear message.

Exit codes: 0 done, 1 a fault of the program or the machine or a comparison that failed,
2 a user error, 130 interrupted.
"""

import contextlib
import importlib
import importlib.metadata
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

VERBS = {
    "inspect": "show what a network costs, before any training",
    "sweep": "prune one network under many budgets",
    "worker": "run trials of a sweep, from any machine",
    "status": "show the state of a sweep",
    "pause": "pause a sweep, from any machine",
    "resume": "resume a paused or halted sweep",
    "cancel": "cancel the trials that have not finished",
    "front": "show the Pareto front of a sweep",
    "compare": "compare the fronts of several sweeps",
    "pick": "write the best model for a device or a budget",
    "report": "write a report on the best model for a colleague",
    "export": "write the model of one finished trial as files",
    "verify": "run models as firmware on an emulated core, and measure them",
    "calibrate": "fit a device's latency estimate to measurements",
    "rerun": "train a finished trial again, and compare every number",
    "serve": "start MLflow's dashboard",
    "reconcile": "make MLflow agree with a sweep",
    "collect": "remove files from the store that no study uses",
    "doctor": "check everything that a sweep needs",
}
EXTRAS = {  # what a verb may miss, and its extra
    "unicorn": "verify",
    "elftools": "verify",
    "tflite": "tflite",
    "flatbuffers": "tflite",
    "tflite_micro": "tflm",
}
USER_ERRORS = (
    "SearchError",
    "PruningError",
    "TrackingError",
    "HydraException",
    "OmegaConfBaseException",
    "YAMLError",  # a config file of the user's
)
SECRET = "PARING_NOTIFY_URL"  # what conf/ reads of the environment and nobody else should
RUNNING = ("-m", "--m", "-r", "--ru", "-cd", "-cp", "-cn", "--config")  # print nothing


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Always ends by raising SystemExit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        raise SystemExit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"paring {importlib.metadata.version('paring')}")
        raise SystemExit(0)
    verb, *overrides = arguments
    if verb not in VERBS:
        _complain(f"there is no verb {verb!r}; verbs: {', '.join(VERBS)}")
        raise SystemExit(2)
    raise SystemExit(run(verb, overrides))


def usage() -> str:
    """What `paring --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {what}" for verb, what in VERBS.items()]
    return "\n".join(
        [
            "paring: one network and one data set in, a Pareto front of MCU models out",
            "",
            "usage: paring VERB [KEY=VALUE ...] [hydra options]",
            "",
            *lines,
            "",
            "`paring VERB --help` explains a verb; `paring VERB --cfg job` shows its config.",
        ]
    )


def run(verb: str, overrides: Sequence[str]) -> int:
    """Run a verb in this process and return its exit code."""
    debug = "debug=true" in [override.lower() for override in overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of being printed by Hydra
    sys.path.append(str(Path.cwd()))  # the user's own model and data
    sys.argv = [f"paring {verb}", *_options_first(overrides)]
    try:
        _refuse_passwords(overrides)
        with _masked_if_shown(overrides):
            importlib.import_module(f"search.cli.commands.{verb}").main()
    except KeyboardInterrupt:
        _complain("interrupted; continue with the same command")
        return 130
    except Exception as error:  # the outermost edge: every error becomes a message
        return _explained(error, debug)
    except BaseException as error:
        if isinstance(raised := getattr(error, "error", None), Exception):
            return _explained(raised, debug)
        raise
    return 0


def _options_first(words: Sequence[str]) -> list[str]:
    """Options with their values, then the overrides, which Hydra's parser takes in one run."""
    options: list[str] = []
    overrides: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        of_option = before.startswith("-") and "=" not in word and word[:1] not in "+~"
        (options if word.startswith("-") or of_option else overrides).append(word)
    return [*options, *overrides]


def _explained(error: Exception, debug: bool) -> int:
    """Print an error as one message; 2 when it is the user's to mend."""
    from tracking.databases.urls import mask  # not needed for --help, which should be quick

    if debug:
        print(mask("".join(traceback.format_exception(error))), file=sys.stderr)
    if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        _complain(f"{error.name} is not installed: pip install 'paring[{EXTRAS[error.name]}]'")
        return 2
    from search.config.messages import cause_of, in_words  # loads torch, by way of the settings

    error = cause_of(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    theirs = not names.isdisjoint(USER_ERRORS)
    text = mask(in_words(error) or type(error).__name__)
    if theirs:
        _complain(text)
        return 2
    _complain(f"{type(error).__name__}: {text} (a traceback comes with debug=true)")
    return 1


def _refuse_passwords(overrides: Sequence[str]) -> None:
    from search.errors import ConfigError
    from tracking.databases.urls import mask

    for override in overrides:
        if mask(override) != override:
            raise ConfigError(
                f"{mask(override)}: a password on the command line can be read by others; give "
                "it in PGPASSWORD or ~/.pgpass, MLFLOW_TRACKING_PASSWORD, AWS_SECRET_ACCESS_KEY "
                "or PARING_NOTIFY_URL"
            )


@contextlib.contextmanager
def _masked_if_shown(overrides: Sequence[str]) -> Iterator[None]:
    """Hide secrets in what Hydra prints of a config (`--cfg`, `--info`, `--help`)."""
    options = [override for override in overrides if override.startswith("-")]
    if all(option.startswith(RUNNING) for option in options):
        yield
        return
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        print(_masked(printed.getvalue()), end="")


def _masked(text: str) -> str:
    """A text without passwords in addresses, and without what the environment keeps secret."""
    from tracking.databases.urls import mask

    secret = os.environ.get(SECRET)
    return mask(text.replace(secret, "***") if secret else text)


def _complain(text: str) -> None:
    print(f"paring: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()
