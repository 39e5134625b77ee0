"""What can go wrong in a sweep, as one tree.

SearchError                 anything below: the user's mistake, exit code 2
├── ConfigError             a config that cannot be read or makes no sense
├── StudyError              a study that is missing, foreign or of another recipe
├── StoreError              a blob that is missing or damaged
│   └── UnwritableError     the store cannot be written now: a full disk, a server out of reach
├── UnreadableError         the store cannot be read now; no blob is known to be lost
└── NothingFitsError        no finished point is within the limits asked for

Every message says what, the value, the limit and the cure.
"""


class SearchError(Exception):
    """The root of all errors of `search`.

    Example:
        >>> import search
        >>> try:
        ...     search.sweep("a", ["workers=0"])
        ... except search.SearchError as error:
        ...     print(error)
        workers=0: write a number of at least 1
    """


class ConfigError(SearchError):
    """A config cannot be read or makes no sense.

    Example:
        >>> import search
        >>> search.sweep("a", ["model=resnet9"])
        Traceback (most recent call last):
            ...
        search.errors.ConfigError: model/resnet9: no such model; choose resnet8, ...
    """


class StudyError(SearchError):
    """A study is missing, foreign, or was created with another recipe.

    Example:
        >>> import search
        >>> search.load_study("a", ["storage.folder=/nowhere"])
        Traceback (most recent call last):
            ...
        search.errors.StudyError: there are no studies in /nowhere; ...
    """


class StoreError(SearchError):
    """A blob is missing from the store or damaged.

    Example:
        >>> import search
        >>> issubclass(search.StoreError, search.SearchError)
        True
    """


class UnwritableError(StoreError):
    """The store cannot be written at the moment."""


class UnreadableError(SearchError):
    """The store cannot be read at the moment.

    No StoreError: whoever makes lost blobs again must not take an outage for a loss.
    """


class NothingFitsError(SearchError):
    """No finished point is within the limits asked for.

    Example:
        >>> import search
        >>> try:
        ...     search.load_study("demo").pick(flash="1 B")  # doctest: +SKIP
        ... except search.NothingFitsError as error:
        ...     print(error)  # names the nearest trial, and by how much it misses
    """
