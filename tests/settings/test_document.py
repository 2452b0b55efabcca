"""The page of properties is the one that the property files make."""

from __future__ import annotations

from pathlib import Path

import recbole_clia
from recbole_clia.settings.document import properties_page

ROOT = Path(recbole_clia.__file__).resolve().parent.parent


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/properties.md").read_text(encoding="utf-8") == properties_page()
