"""What is installed is what is here."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

import recbole_clia
from recbole_clia.settings.properties import PROPERTIES_DIR

ROOT = Path(recbole_clia.__file__).resolve().parent.parent


@pytest.fixture
def options() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_package_is_listed(options: configparser.ConfigParser) -> None:
    here = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "recbole_clia").rglob("__init__.py")}
    listed = set(options["options"]["packages"].split())
    assert listed == here | {"recbole_clia.properties"}


def test_property_files_have_one_home() -> None:
    assert PROPERTIES_DIR == ROOT / "properties"
    assert not list((ROOT / "recbole_clia").rglob("*.yaml"))


def test_public_names_are_importable() -> None:
    for name in recbole_clia.__all__:
        assert getattr(recbole_clia, name) is not None
