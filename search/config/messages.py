"""What Hydra and OmegaConf say of a config, in words that its author can use."""

from search.config.parse import checked_name
from search.config.settings import unknown_setting
from search.errors import ConfigError


def in_words(error: Exception) -> str:
    """The text of an error without what only a programmer can use, on one line."""
    return " ".join(_sentences(error).split())


def _sentences(error: Exception) -> str:
    text = str(error)
    if type(error).__name__ == "MissingMandatoryValue":
        key = text.splitlines()[0].rpartition(" ")[2]
        return f"no value for {key}; give {key}=... on the command line"
    if type(error).__name__ == "OverrideParseException":
        return _unread(str(getattr(error, "override", "")))
    composing = type(error).__name__.endswith(("CompositionException", "MissingConfigException"))
    if composing and (said := unknown_setting(error)) is not None:
        return said
    return text.partition("Config search path")[0].partition("full_key:")[0]


def _unread(override: str) -> str:
    """What to say of an argument that Hydra's grammar does not take."""
    key, _, value = override.partition("=")
    if key == "study" and not value.startswith(("'", '"', "[", "$")):
        try:
            checked_name(value)
        except ConfigError as refused:
            return str(refused)
    if not value:
        return f"{override}: write KEY=VALUE, such as study=NAME"
    plain = value.isprintable() and not set(value) & set("[]{}()'\"\\")
    return (
        f"{key}: cannot read {value!r}: every bracket needs its other half, and text with "
        f"spaces, ~ or letters beyond a to z needs quotes of its own: "
        + (f"'{key}=\"{value}\"'" if plain else "'out=\"my folder\"'")
    )


def cause_of(error: Exception) -> Exception:
    """The cause that explains a composition error best: Hydra wraps what OmegaConf says."""
    if "Config group override must be a string" in str(error):
        return ConfigError("null is no choice of a group that needs one; write GROUP=NAME")
    if type(error).__name__ in ("ConfigAttributeError", "ConfigKeyError"):
        return ConfigError(f"{getattr(error, 'key', 'a setting')} is needed; do not leave it out")
    cause = error.__cause__
    plain = type(error).__name__ in ("ConfigCompositionException", "InstantiationException")
    unknown = "Could not override" in str(error)  # told of by `search.config.settings`
    if plain and isinstance(cause, Exception) and not unknown and str(cause) not in str(error):
        return type(error)(f"{error} {str(cause).splitlines()[0]}")
    return error
