"""What a composed config names: where studies are, and one of them."""

from omegaconf import DictConfig

from search.config.parse import checked_name
from search.config.schema import StorageConfig
from search.config.validate import validated
from search.storage.workspace import Workspace, open_workspace
from search.study.study import Study, require_study


def workspace_of(config: DictConfig) -> Workspace:
    """The workspace of a config, where something is already.

    Raises:
        StudyError: nothing is there. ConfigError: a setting makes no sense.
    """
    return open_workspace(validated(config.storage, StorageConfig, "storage"), create=False)


def study_of(config: DictConfig) -> Study:
    """The study that a config names.

    Raises:
        StudyError: there is none. ConfigError: its name is no name.
    """
    name = checked_name(config.study)
    return require_study(workspace_of(config), name)
