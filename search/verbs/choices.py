"""What many verbs ask for: one of a few words, or a study that exists."""

from omegaconf import DictConfig

from search.config import StorageConfig, checked_name, cross
from search.errors import ConfigError
from search.home import open_home
from search.study import Study, require_study


def choose(value: str, name: str, choices: tuple[str, ...]) -> str:
    """The value, if it is one of the choices.

    Raises:
        ConfigError: it is not.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value}: write one of {', '.join(choices)}")
    return value


def study_of(config: DictConfig) -> Study:
    """The study that a config names.

    Raises:
        StudyError: there is none. ConfigError: its name is no name.
    """
    name = checked_name(config.study)
    home = open_home(cross(config.storage, StorageConfig, "storage"), create=False)
    return require_study(home, name)
