"""A second run reads what the first one kept, unless anything about it has changed."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loading import assert_same_columns, assert_same_facts, write_files

from recbole_clia.data.atomic import AtomicFile
from recbole_clia.data.cache import Cache, Stored
from recbole_clia.data.dataset import LogDataset
from recbole_clia.settings.config import PluginConfig


def build(made: dict[str, Any]) -> LogDataset:
    dataset = LogDataset(PluginConfig("SASRec", "made", config_dict=made))
    dataset._change_feat_format()
    return dataset


def assert_equal(got: LogDataset, want: LogDataset) -> None:
    assert_same_facts(got, want)
    assert_same_columns(got.inter_feat.interaction, want.inter_feat.interaction)


@pytest.fixture
def made(workplace: Path) -> dict[str, Any]:
    return {**write_files(workplace, 4), "exact_time": True, "lazy_augmentation": True, "data_cache": "kept"}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that have been parsed."""
    names: list[str] = []
    read = AtomicFile.read

    def noted(self: AtomicFile, *args: Any, **kwargs: Any) -> Any:
        names.append(self.path.name)
        return read(self, *args, **kwargs)

    monkeypatch.setattr(AtomicFile, "read", noted)
    return names


def folder_of() -> Path:
    (folder,) = Path("kept").iterdir()
    return folder


def test_a_second_run_does_not_parse(made: dict[str, Any], parsed: list[str]) -> None:
    want = build({**made, "data_cache": None})
    assert_equal(build(made), want)
    parsed.clear()
    again = build(made)
    assert parsed == []
    assert_equal(again, want)
    assert again.token2id("item_id", "i3") == want.token2id("item_id", "i3")
    assert str(again) == str(want)


@pytest.mark.parametrize(
    "change",
    [
        {"user_inter_num_interval": "[3,inf)"},
        {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
        {"time_unit": "h"},
        {"exact_time": False},
        {"rm_dup_inter": "first"},
        {"val_interval": {"kind": ["k1", "k2", "k3"]}},
        {"seq_len": {"tags": 1}},
        {"normalize_all": True, "unload_col": {"item": ["vector"]}},
        {"alias_of_item_id": ["kind"]},
        {"encoding": "latin-1"},
        {"seq_separator": "t", "unload_col": {"inter": ["nums"], "item": ["vector"]}},
        {"filter_inter_by_user_or_item": False},
    ],
    ids=str,
)
def test_another_setting_is_another_cache(made: dict[str, Any], parsed: list[str], change: dict[str, Any]) -> None:
    build(made)
    parsed.clear()
    changed = build({**made, **change})
    assert "made.inter" in parsed
    assert_equal(changed, build({**made, **change, "data_cache": None}))
    parsed.clear()
    build(made)
    build({**made, **change})
    assert parsed == []


def test_what_is_cut_later_needs_no_other_cache(made: dict[str, Any], parsed: list[str]) -> None:
    build(made)
    parsed.clear()
    later = {"MAX_ITEM_LIST_LENGTH": 3, "unused_col": {"inter": ["rating"]}, "LIST_SUFFIX": "_seq"}
    assert_equal(build({**made, **later}), build({**made, **later, "data_cache": None}))
    assert parsed == ["made.inter", "made.user", "made.item"]  # by the one without a cache


def test_a_changed_file_is_noticed_though_its_size_and_time_are_not(made: dict[str, Any], parsed: list[str]) -> None:
    build(made)
    file = Path(made["data_path"]) / "made/made.inter"
    before = file.stat()
    text = file.read_text()
    file.write_text(text.replace("k1", "k9"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    parsed.clear()
    assert "k9" in build(made).field2token_id["kind"]
    assert "made.inter" in parsed
    parsed.clear()
    (file.parent / "made.item").unlink()
    assert build(made).item_feat is None
    assert "made.inter" in parsed


def test_a_file_that_changes_while_it_is_read_is_noticed_by_the_next_run(tmp_path: Path) -> None:
    source = tmp_path / "made.inter"
    source.write_text("before")
    cache = Cache(tmp_path / "kept", "made", [source], {})
    source.write_text("changed while it was read")
    cache.save(Stored({}, {"a": np.arange(3)}))
    assert cache.path.is_dir()
    assert Cache(tmp_path / "kept", "made", [source], {}).load() is None
    source.write_text("settled")
    cache = Cache(tmp_path / "kept", "made", [source], {})
    cache.save(Stored({"b": 1}, {"a": np.arange(3)}))
    stored = Cache(tmp_path / "kept", "made", [source], {}).load()
    assert stored is not None
    assert stored.facts == {"b": 1}
    assert stored.arrays["a"].tolist() == [0, 1, 2]


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was-run",)


def forge(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest and its checksum with it."""
    manifest = json.loads((folder / "manifest.json").read_text())["manifest"]
    change(manifest)
    written = {"crc32": zlib.crc32(json.dumps(manifest).encode()), "manifest": manifest}
    (folder / "manifest.json").write_text(json.dumps(written))


def an_array(folder: Path) -> Path:
    return max(folder.glob("*.npy"), key=lambda file: file.stat().st_size)


def truncate(folder: Path) -> None:
    file = an_array(folder)
    file.write_bytes(file.read_bytes()[:-5])


def flip(folder: Path) -> None:
    file = an_array(folder)
    content = bytearray(file.read_bytes())
    content[-3] ^= 16
    file.write_bytes(content)


def take_for_another_type(folder: Path) -> None:
    file = next(file for file in folder.glob("*.npy") if b"'<i4'" in file.read_bytes())
    file.write_bytes(file.read_bytes().replace(b"'<i4'", b"'<f4'"))


def garble(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff{")


def change_a_letter(folder: Path) -> None:
    file = folder / "manifest.json"
    assert '"time_unit"' in file.read_text()
    file.write_text(file.read_text().replace('"time_unit"', '"time_unix"'))


def empty(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def list_instead(folder: Path) -> None:
    (folder / "manifest.json").write_text("[1]")


def pickle_objects(folder: Path, **further: int) -> None:
    file = an_array(folder)
    np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)

    def trust(manifest: dict[str, Any]) -> None:
        for entry in manifest["arrays"].values():
            if entry["file"] == file.name:
                entry.update(crc32=zlib.crc32(file.read_bytes()), **further)

    forge(folder, trust)


def pickle_objects_that_are_not_mapped(folder: Path) -> None:
    pickle_objects(folder, size=0)


def point_outside(folder: Path) -> None:
    outside = folder.parent.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "0.npy").write_bytes((folder / "0.npy").read_bytes())

    def name(manifest: dict[str, Any]) -> None:
        for entry in manifest["arrays"].values():
            if entry["file"] == "0.npy":
                entry["file"] = "../../outside/0.npy"

    forge(folder, name)


def name_a_folder(folder: Path) -> None:
    forge(folder, lambda manifest: next(iter(manifest["arrays"].values())).update(file=".."))


DAMAGES: list[Callable[[Path], None]] = [
    truncate,
    flip,
    take_for_another_type,
    lambda folder: an_array(folder).unlink(),
    lambda folder: (folder / "manifest.json").unlink(),
    garble,
    change_a_letter,
    empty,
    list_instead,
    pickle_objects,
    pickle_objects_that_are_not_mapped,
    point_outside,
    name_a_folder,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_noticed_told_and_made_good(
    made: dict[str, Any],
    parsed: list[str],
    workplace: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    want = build({**made, "data_cache": None})
    build(made)
    damage(folder_of())
    parsed.clear()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert_equal(build(made), want)
    assert "made.inter" in parsed
    assert sum("is damaged" in record.getMessage() for record in caplog.records) == 1
    assert not (workplace / "was-run").exists()
    parsed.clear()
    assert_equal(build(made), want)
    assert parsed == []
    assert [path.suffix for path in Path("kept").iterdir()] == [""]


def test_a_pickle_of_the_tests_would_leave_its_mark(workplace: Path) -> None:
    np.save("bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.load("bomb.npy", allow_pickle=True)
    assert (workplace / "was-run").is_dir()


@pytest.mark.parametrize("fault", ["a file is in its place", "no right", "no room"])
def test_where_nothing_can_be_written_a_run_only_warns(
    made: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        number = errno.EACCES if fault == "no right" else errno.ENOSPC
        raise OSError(number, os.strerror(number))

    want = build({**made, "data_cache": None})
    if fault == "a file is in its place":
        Path("kept").write_text("mine")
    elif fault == "no right":
        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        monkeypatch.setattr(np, "save", refuse)
    with caplog.at_level(logging.WARNING):
        assert_equal(build(made), want)
    assert sum("could not be written" in record.getMessage() for record in caplog.records) == 1
    assert not Path("kept").is_dir() or not list(Path("kept").iterdir())


def test_arrays_are_mapped_and_their_files_stay_as_they_are(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(made)
    before = {file: file.read_bytes() for file in folder_of().iterdir()}
    stored: list[Stored] = []
    load = Cache.load
    monkeypatch.setattr(Cache, "load", lambda self: stored.append(load(self)) or stored[-1])
    dataset = build(made)
    for name, column in dataset.log.columns.items():
        array = stored[-1].arrays[f"inter {name}"]
        assert isinstance(array, np.memmap)
        assert np.shares_memory(array, column.numpy())
        column.add_(1)
    dataset.item_feat["price"].zero_()
    assert {file: file.read_bytes() for file in folder_of().iterdir()} == before
    assert_equal(build(made), build({**made, "data_cache": None}))


def test_processes_that_build_at_the_same_time_leave_one_good_cache(
    made: dict[str, Any], parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    want = build({**made, "data_cache": None})

    def race() -> None:
        for _ in range(4):
            barrier.wait(timeout=20)
            assert_equal(build(made), want)

    workers = [context.Process(target=race) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    parsed.clear()
    assert_equal(build(made), want)
    assert parsed == []
    assert [path.suffix for path in Path("kept").iterdir()] == [""]


def test_what_cannot_be_kept_is_not(made: dict[str, Any]) -> None:
    build({**made, "numerical_features": ["rating"]})
    assert not Path("kept").exists()
