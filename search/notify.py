"""Telling a web hook that a sweep has ended, and how."""

import json
import logging
import urllib.error
import urllib.request
from dataclasses import asdict
from urllib.parse import urlsplit

from search.errors import ConfigError
from search.situation import Situation

log = logging.getLogger("paring.notify")
PATIENCE_S = 10


def checked_url(url: str | None) -> str | None:
    """The address of a web hook, or None.

    Raises:
        ConfigError: it is no http address.
    """
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError("notify.url: write an address that begins with http:// or https://")
    return url


def notify(url: str, outcome: str, now: Situation) -> bool:
    """Post how a sweep stands, as JSON; a hook that does not answer is only warned of.

    The address is not told in the log: many hooks carry their secret in it.
    """
    body = {"text": f"paring: study {now.study} {outcome}", "outcome": outcome, **asdict(now)}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            return True
    except (urllib.error.URLError, OSError, ValueError) as error:
        log.warning("notify.url at %s: %s", urlsplit(url).hostname, error)
        return False
