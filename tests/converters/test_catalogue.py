"""Converters and property files name the same datasets, fields and files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_clia.converters import catalogue
from recbole_clia.converters.catalogue import CONVERTERS, LABELS, describe
from recbole_clia.settings.properties import PROPERTIES_DIR, read_properties

FOLDER = PROPERTIES_DIR / "dataset"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
IN_RECBOLE = "ml-100k"  # RecBole has a property file of it, which says what is loaded
FILE = re.compile(r"[\w-]+(?:\.[\w-]+)+")
UNITS = {"s", "ms", "us", "ns", "min", "h", "d", "date", "step"}
SETTINGS = {"load_col", "time_unit", "duplicate_rows", "val_interval"}
SETTINGS |= {"user_inter_num_interval", "item_inter_num_interval"}


def test_every_converter_has_a_property_file() -> None:
    assert set(CONVERTERS) <= set(NAMES)
    assert list(CONVERTERS) == sorted(CONVERTERS)
    assert all(converter.name == name for name, converter in CONVERTERS.items())


def test_every_module_of_converters_is_in_the_catalogue() -> None:
    helpers = {"__init__", "catalogue", "columns", "convert", "frames", "moments", "raw", "writer"}
    modules = {path.stem for path in Path(catalogue.__file__).parent.glob("*.py")} - helpers
    assert {module.__name__.rsplit(".", 1)[1] for module in catalogue._MODULES} == modules
    assert sum(len(module.CONVERTERS) for module in catalogue._MODULES) == len(CONVERTERS)


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_comment_says_what_the_data_are(name: str) -> None:
    description = describe(name)
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    labels = [match[1] for line in lines if (match := re.match(r"# (\w+): ", line)) and match[1] in LABELS]
    assert tuple(labels) == LABELS
    assert lines[0] == f"# {description.title}"
    assert description.publisher.startswith(("https://", "http://"))
    counts = (description.users, description.items, description.interactions)
    if description.statistics.startswith("not known"):
        assert counts == (None, None, None)
        assert len(description.statistics) > len("not known ")
    else:
        assert all(count is not None and count > 0 for count in counts)
        assert description.statistics.startswith("{:,} users, {:,} items, {:,} interactions".format(*counts))


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_comment_names_the_raw_files(name: str) -> None:
    files = describe(name).files
    named = set(FILE.findall(files))
    for part in CONVERTERS[name].parts.values():
        assert set(FILE.findall(part.example)) <= named
    optional = [part for part in CONVERTERS[name].parts.values() if not part.required]
    assert files.count("(optional)") == len(optional)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented(name: str) -> None:
    settings = read_properties(FOLDER / f"{name}.yaml")
    assert "time_unit" in settings
    if name != IN_RECBOLE:
        assert {"load_col", "user_inter_num_interval", "item_inter_num_interval"} <= set(settings)
    assert set(settings) <= SETTINGS
    for setting in settings.values():
        assert setting.type
        assert setting.meaning.endswith(".")
        assert setting.complaint(setting.default) is None
    assert settings["time_unit"].default in UNITS
    if "duplicate_rows" in settings:
        assert settings["duplicate_rows"].default == "first"


@pytest.mark.parametrize("name", [name for name in CONVERTERS if name != IN_RECBOLE])
def test_the_columns_loaded_are_those_written(name: str) -> None:
    settings = {key: setting.default for key, setting in read_properties(FOLDER / f"{name}.yaml").items()}
    inter = CONVERTERS[name].inter
    loaded = settings["load_col"]["inter"]
    kept = settings.get("val_interval") or {}
    assert set(settings["load_col"]) == {"inter"}
    assert set(loaded) == {"user_id", "item_id", "timestamp", *kept}
    assert set(loaded) <= set(inter)
    for field, values in kept.items():
        assert isinstance(values, str if inter[field] == "float" else list)


@pytest.mark.parametrize("name", CONVERTERS)
def test_fields_stand_in_one_order(name: str) -> None:
    inter, item = list(CONVERTERS[name].inter), list(CONVERTERS[name].item)
    assert inter[:2] == ["user_id", "item_id"]
    assert inter[-1] == "timestamp"
    assert CONVERTERS[name].inter["timestamp"] == "float"
    assert (item == []) == (CONVERTERS[name].read_item is None)
    if item:
        assert item[0] == "item_id"
        assert CONVERTERS[name].item["item_id"] == "token"
    for kinds in (CONVERTERS[name].inter, CONVERTERS[name].item):
        assert set(kinds.values()) <= {"token", "token_seq", "float"}


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_raw_file_fits_one_part_only(name: str) -> None:
    parts = CONVERTERS[name].parts
    for part in parts.values():
        for example in FILE.findall(part.example):
            assert [p for p in parts.values() if re.fullmatch(p.pattern, example, re.IGNORECASE)] == [part]


def test_a_missing_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset").mkdir()
    file = tmp_path / "dataset" / "shop.yaml"
    monkeypatch.setattr(catalogue, "PROPERTIES_DIR", tmp_path)
    text = (
        "# A shop.\n# Publisher: https://shop\n# Licence: none\n# Files: log.csv,\n#   items.csv\n"
        "# Literature: none\n# Statistics: 1,000 users, 20 items, 3,000,000 interactions in all\n\n# Files: not this\n"
    )
    file.write_text(text)
    description = describe("shop")
    assert description.files == "log.csv, items.csv"
    assert (description.users, description.items, description.interactions) == (1000, 20, 3_000_000)
    assert description.statistics == "1,000 users, 20 items, 3,000,000 interactions in all"
    file.write_text(text.replace("# Licence: none\n", ""))
    with pytest.raises(ValueError, match="its comment has no line Licence"):
        describe("shop")
    file.write_text(text.replace("1,000 users, 20 items, 3,000,000 interactions in all", "not known, for a reason"))
    assert (describe("shop").users, describe("shop").statistics) == (None, "not known, for a reason")
