"""What can go wrong in a sweep, as one tree.

SearchError                 anything below: the user's mistake, exit code 2
├── ConfigError             a config that cannot be read or makes no sense
├── StudyError              a study that is missing, foreign or of another recipe
├── StoreError              a blob that is missing or damaged
│   └── UnwritableError     the store cannot be written now: a full or failing disk
└── NothingFitsError        no finished point is within the limits asked for

Every message says what, the value, the limit and the cure.
"""


class SearchError(Exception):
    """The root of all errors of `search`."""


class ConfigError(SearchError):
    """A config cannot be read or makes no sense."""


class StudyError(SearchError):
    """A study is missing, foreign, or was created with another recipe."""


class StoreError(SearchError):
    """A blob is missing from the store or damaged."""


class UnwritableError(StoreError):
    """The store cannot be written at the moment."""


class NothingFitsError(SearchError):
    """No finished point is within the limits asked for."""
