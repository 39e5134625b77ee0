"""How MLflow's page of a study's runs looks when it is opened by a link: columns, order, charts.

MLflow keeps what its button *Share* shares in a tag of the experiment. The layout of that tag is no
interface of MLflow's: it is that of the version which this package is pinned to, and a browser test
fails where another version reads it otherwise.
"""

import json
import struct

from tracking.records import RESOURCES

KEY = "paring"
TAG = f"mlflow.sharedViewState.{KEY}"  # of the experiment
ORDER = "paring.order"  # a run's tag, by which the page is sorted
_COLUMNS = (
    "metrics.`score`",
    "metrics.`test_score`",
    *(f"metrics.`{name}`" for name in RESOURCES),
    "tags.`paring.planes`",
    "tags.`paring.budget`",
    "tags.`network`",
    "attributes.`Models`",
)
_NAME = "attributes.`Run Name`"
_WIDTHS = {_NAME: 350, **dict.fromkeys(_COLUMNS[:5], 110), "tags.`paring.planes`": 210,
           "tags.`paring.budget`": 260}  # fmt: skip
_TITLES = {"flash_bytes": "score and flash", "sram_bytes": "score and SRAM",
           "latency_ms": "score and latency"}  # fmt: skip
_SECTION = "fronts"


def shared_view() -> str:
    """Return the value of the tag: trials alone, those on a front first, the best first."""
    state = {
        "searchFilter": "tags.`paring.kind` = 'slot'",
        "orderByKey": f"tags.`{ORDER}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": _COLUMNS,
        "columnOrder": (_NAME, *_COLUMNS),
        "columnWidths": _WIDTHS,
        "runsHiddenMode": "SHOWALL",
        "compareRunCharts": [_scatter(name) for name in RESOURCES],
        "compareRunSections": [
            {"uuid": _SECTION, "name": "Fronts", "display": True, "isReordered": False,
             "deleted": False, "isGenerated": False},
        ],
        "isAccordionReordered": True,
        "autoRefreshEnabled": True,
    }  # fmt: skip
    return json.dumps(state)


def _scatter(resource: str) -> dict[str, object]:
    return {
        "type": "SCATTER",
        "uuid": f"paring-{resource}",
        "displayName": _TITLES[resource],
        "metricSectionId": _SECTION,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
        "xaxis": {"key": resource, "type": "METRIC"},
        "yaxis": {"key": "score", "type": "METRIC"},
    }


def order_of(on_front: bool, score: float, rises: bool) -> str:
    """Return a text that sorts as the page should: fronts last in the alphabet, then the score.

    MLflow sorts by one column only. The digits are those of the number's bits, negative numbers
    turned over, so that texts are in the order of the numbers.
    """
    (bits,) = struct.unpack(">Q", struct.pack(">d", score if rises else -score))
    whole = (1 << 64) - 1
    sortable = bits ^ (whole if bits >> 63 else 1 << 63)
    return f"{int(on_front)}-{sortable:016x}"
