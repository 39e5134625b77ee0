"""Telling a web hook that a sweep has ended, and how."""

import http.client
import json
import logging
import urllib.error
import urllib.request
from dataclasses import asdict
from urllib.parse import urlsplit

from search.results.status import StudyStatus

log = logging.getLogger("paring.notify")
PATIENCE_S = 10


def notify(url: str, outcome: str, now: StudyStatus) -> bool:
    """Post how a sweep stands, as JSON; a hook that does not answer is only warned of.

    Neither the address nor the error's text is told in the log: many hooks carry their secret
    in their address, and errors repeat it.
    """
    body = {"text": f"paring: study {now.study} {outcome}", "outcome": outcome, **asdict(now)}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            return True
    except urllib.error.HTTPError as error:
        log.warning("notify.url at %s: it answered %d", urlsplit(url).hostname, error.code)
    except (OSError, ValueError, http.client.HTTPException) as error:
        log.warning("notify.url at %s: %s", urlsplit(url).hostname, type(error).__name__)
    return False
