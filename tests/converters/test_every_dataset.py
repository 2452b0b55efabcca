"""Each property file loads what its converter writes, with its own filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recbole.data import create_dataset

from recbole_clia.converters.catalogue import CONVERTERS
from recbole_clia.data.times import SECONDS
from recbole_clia.settings.config import PluginConfig
from recbole_clia.settings.properties import PROPERTIES_DIR, plain_yaml

USERS, ITEMS = 13, 12  # each user has each item once: more than any filter asks for


def value_that_stays(field: str, kind: str, kept: dict[str, Any]) -> str:
    """A value that passes ``val_interval``."""
    allowed = kept.get(field)
    if isinstance(allowed, list):
        return str(allowed[0])
    if isinstance(allowed, str):
        return allowed.strip("[](").split(",")[0]
    return "5" if kind == "float" else "word"


@pytest.mark.parametrize("name", [name for name in CONVERTERS if name != "ml-100k"])  # that one is RecBole's own copy
def test_it_loads(name: str, workplace: Path) -> None:
    settings = plain_yaml((PROPERTIES_DIR / "dataset" / f"{name}.yaml").read_text())
    fields = CONVERTERS[name].inter
    unit = SECONDS[settings["time_unit"]]
    lines = ["\t".join(f"{field}:{kind}" for field, kind in fields.items())]
    for user in range(USERS):
        for item in range(ITEMS):
            row = {
                field: value_that_stays(field, kind, settings.get("val_interval", {})) for field, kind in fields.items()
            }
            moment = int(1.5e9 / unit) + user + item
            lines.append(
                "\t".join({**row, "user_id": f"u{user}", "item_id": f"i{item}", "timestamp": str(moment)}.values())
            )
    (workplace / "dataset" / name).mkdir(parents=True)
    (workplace / "dataset" / name / f"{name}.inter").write_text("\n".join(lines) + "\n")
    dataset = create_dataset(PluginConfig("CLIA", name, config_dict={"state": "ERROR"}))
    assert (dataset.user_num - 1, dataset.item_num - 1, dataset.inter_num) == (USERS, ITEMS, USERS * ITEMS)
    assert dataset.time_unit == settings["time_unit"]
    assert set(dataset.log.columns) == set(settings["load_col"]["inter"])
    first = dataset.log.column("item_id")[:ITEMS].tolist()
    assert dataset.id2token("item_id", first).tolist() == [f"i{item}" for item in range(ITEMS)]
