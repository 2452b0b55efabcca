"""``recbole-clia data stats`` as a person types it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import random_rows, write_log

from recbole_clia.cli.main import main

# Three users of 5, 3 and 1 interactions; user 1's stand out of order, the second of user 2 is repeated as a row.
ROWS = [
    (1, 1, 1_500_000_000.0),
    (1, 2, 1_500_000_060.0),
    (2, 1, 1_500_000_000.0),
    (1, 3, 1_500_000_030.0),
    (2, 5, 1_500_003_600.0),
    (2, 5, 1_500_003_600.0),
    (1, 1, 1_500_000_120.0),
    (1, 1, 1_500_000_120.5),
    (3, 4, 1_500_086_400.0),
]


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The lines that are printed, by the words they begin with, and the first of them as ``!``."""
    assert main(["data", "stats", *words]) == 0
    first, *lines = capsys.readouterr().out.strip().splitlines()
    parts = [re.split(r"\s{2,}|(?<=Drawing:) ", line, maxsplit=1) for line in lines]
    return {"!": first, **{what: " ".join(rest[0].split()) for what, *rest in parts if rest and what.strip("- ")}}


def test_ml_100k_has_the_known_faults_of_order(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(["ml-100k"], capsys)
    assert printed["!"].endswith("ml-100k.inter, without any filter")
    assert printed["users"] == "943"
    assert printed["items"] == "1,682"
    assert printed["interactions"] == "100,000"
    assert printed["density"].startswith("6.30 %")
    assert printed["first time"] == "1997-09-20 03:05:10 UTC"
    assert printed["last time"] == "1998-04-22 23:10:38 UTC"
    assert printed["unit of the times"] == "s"
    assert printed["resolution of the times"] == "1 s"
    assert printed["steps back in time in RecBole's float32 order"] == "16,980 of 99,057 (17.1 %)"
    assert printed["held-out test items there that are not the user's last"] == "149 of 943 (15.8 %)"
    assert printed["Drawing:"] == "data_stats/ml-100k.svg"
    assert "<svg" in (workplace / "data_stats/ml-100k.svg").read_text()
    assert not (workplace / "saved").exists()


def test_each_number_of_a_small_log(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_log(workplace / "dataset", ROWS)
    printed = run(["made", f"--data_path={data}", "--out", "elsewhere"], capsys)
    assert printed == {
        "!": f"{data}/made/made.inter, without any filter",
        "users": "3",
        "items": "5",
        "interactions": "9",
        "density": "60.0 % interactions / (users x items)",
        "Gini coefficient of the popularity of items": "0.311",
        "interactions of the top 1 % of items": "44.4 %",
        "interactions of the top 10 % of items": "44.4 %",
        "first time": "2017-07-14 02:40:00 UTC",
        "last time": "2017-07-15 02:40:00 UTC",
        "unit of the times": "s",
        "resolution of the times": "500 ms",
        "ties: neighbours of a user with the same time": "1 of 6 (16.7 %)",
        "repeats: the user had the item before": "3 of 9 (33.3 %)",
        "immediate repeats: it was the one right before": "2 of 9 (22.2 %)",
        "repeated rows: same user, item and time": "1 of 9 (11.1 %)",
        "steps back in time in the file": "1 of 6 (16.7 %)",
        "steps back in time in RecBole's float32 order": "1 of 6 (16.7 %)",
        "held-out test items there that are not the user's last": "0 of 3 (0 %)",
        "interactions of a user": "1 2 3 4 5 3",
        "interactions of an item": "1 1 1 2 4 1.80",
        "gap between neighbours of a user": "0 s 7.88 s 30 s 52.5 s 1 h 10.3 min",
        "Drawing:": "elsewhere/made.svg",
    }
    assert (workplace / "elsewhere/made.svg").is_file()


def test_filters_of_the_settings_are_applied_and_named(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["made", f"--data_path={write_log(workplace / 'dataset', ROWS)}"]
    printed = run([*words, "--duplicate_rows=first", "--user_inter_num_interval=[2,inf)"], capsys)
    assert printed["!"].endswith("filtered by user_inter_num_interval=[2,inf), duplicate_rows=first")
    assert (printed["users"], printed["interactions"]) == ("2", "7")
    assert printed["steps back in time in the file"] == "1 of 5 (20.0 %)"
    printed = run([*words, "--val_interval={'timestamp': '[1500000100,inf)'}"], capsys)
    assert "val_interval={'timestamp': '[1500000100,inf)'}" in printed["!"]
    assert printed["interactions"] == "5"
    printed = run([*words, "--rm_dup_inter=last"], capsys)
    assert printed["repeats: the user had the item before"] == "0 of 6 (0 %)"


def test_raw_leaves_out_the_filters_of_the_property_file(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_log(workplace / "dataset", ROWS, "yelp")
    assert main(["data", "stats", "yelp", f"--data_path={data}"]) == 2
    assert "no interaction passes the filters" in capsys.readouterr().err
    printed = run(["yelp", "--raw", f"--data_path={data}"], capsys)
    assert printed["!"].endswith("yelp.inter, without any filter")
    assert printed["interactions"] == "9"


def test_users_without_a_row_in_their_file_are_a_filter(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["made", f"--data_path={write_log(workplace / 'dataset', ROWS)}"]
    (workplace / "dataset/made/made.user").write_text("user_id:token\tage:float\nu1\t20\nu2\t30\n")
    words += ["--load_col={'inter': ['user_id', 'item_id', 'timestamp'], 'user': ['user_id', 'age']}"]
    printed = run(words, capsys)
    assert printed["!"].endswith("filtered by filter_inter_by_user_or_item=True")
    assert printed["users"] == "2"
    printed = run([*words, "--raw"], capsys)
    assert printed["!"].endswith("without any filter")
    assert printed["users"] == "3"


def test_a_single_interaction_can_be_described(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_log(workplace / "dataset", [(1, 1, 5.0)])
    printed = run(["made", f"--data_path={data}"], capsys)
    assert printed["resolution of the times"] == "all times are the same"
    assert printed["unit of the times"] == "step (no time of the calendar)"
    assert printed["first time"] == "5"
    assert printed["ties: neighbours of a user with the same time"] == "0 of 0"
    assert printed["gap between neighbours of a user"] == "- - - - - -"


def test_other_units_and_fields(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = workplace / "dataset/days"
    folder.mkdir(parents=True)
    rows = [f"{u}\t{i}\t{time}" for u, i, time in [(1, 1, 20171125), (1, 2, 20171127), (2, 1, 20171203)]]
    (folder / "days.inter").write_text("\n".join(["who:token\twhat:token\twhen:float", *rows]) + "\n")
    fields = ["--USER_ID_FIELD=who", "--ITEM_ID_FIELD=what", "--TIME_FIELD=when", "--raw"]
    printed = run(["days", f"--data_path={workplace / 'dataset'}", *fields], capsys)
    assert printed["first time"] == "2017-11-25 UTC"
    assert printed["last time"] == "2017-12-03 UTC"
    assert printed["resolution of the times"] == "2 days"
    assert printed["gap between neighbours of a user"] == " ".join(["2 days"] * 6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "the following arguments are required: ACTION"),
        (["look"], "invalid choice: 'look'"),
        (["stats"], "the following arguments are required: NAME"),
        (["stats", "mad"], "did you mean made?"),
        (["stats", "made", "stray"], "'stray' must have the form --key=value"),
        (["stats", "made", "--user_inter_num=1"], "'user_inter_num' is read by nothing"),
        (
            ["stats", "made", "--raw", "--val_interval={'timestamp': '[1,2]'}"],
            "takes no filter, such as --val_",
        ),
        (
            ["stats", "made", "--model=SASRec"],
            "data stats: model is not read; NAME is the dataset, and settings of its",
        ),
        (["stats", "made", "--dataset=other"], "data stats: dataset is not read"),
        (["stats", "made", "--epochs=3"], "data stats: epochs is not read"),
        (["stats", "made", "--embedding_size=8"], "data stats: embedding_size is not read"),
        (["stats", "made", "--n_heads=8"], "data stats: n_heads is not read"),
        (["stats", "made", "--MAX_ITEM_LIST_LENGTH=8"], "data stats: MAX_ITEM_LIST_LENGTH is not read"),
        (["stats", "made", "--out=a", "--out=b"], "--out is given twice, as 'a' and as 'b'"),
        (["stats", "made", "--exact_time=False"], "exact_time must be True"),
        (["stats", "made", "--benchmark_filename=['train', 'valid', 'test']"], "benchmark_filename is set"),
        (["stats", "made", "--TIME_FIELD=when"], "there is no field 'when'"),
        (["stats", "made", "--out", "file"], "--out: file/made.svg cannot be written"),
        (["stats", "made", "--user_inter_num_interval=[99,inf)"], "no interaction passes the filters"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence_and_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    data = write_log(workplace / "dataset", random_rows(1))
    (workplace / "file").write_text("")
    try:
        code = main(["data", *words, *([f"--data_path={data}"] if len(words) > 1 else [])])
    except SystemExit as stop:  # argparse ends the process itself
        code = stop.code
    printed = capsys.readouterr()
    assert code == 2
    assert sentence in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not list(workplace.rglob("*.svg"))
