"""CLIA's interests by themselves, as RESULTS.md measures them: nothing stands beside the inner product."""

from __future__ import annotations

from typing import Any

INTERESTS_ALONE: dict[str, Any] = {
    "repeats": False,
    "trend": False,
    "time_gaps": False,
    "neighbours": False,
    "item_norm": False,
    "MAX_ITEM_LIST_LENGTH": 50,
}
