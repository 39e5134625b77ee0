"""Settings that are one of a few words."""

from search.errors import ConfigError


def choose(value: str, name: str, choices: tuple[str, ...]) -> str:
    """The value, if it is one of the choices.

    Raises:
        ConfigError: it is not.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value}: write one of {', '.join(choices)}")
    return value
