"""The commands as a person types them."""

from __future__ import annotations

import argparse
import errno
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import random_rows, write_log
from recbole.data import create_dataset

from recbole_clia.cli import doctor
from recbole_clia.cli.main import main, make_parser, run_train
from recbole_clia.cli.train import report
from recbole_clia.settings.config import PluginConfig

FAST = ["--epochs=1", "--embedding_size=8", "--hidden_size=8", "--MAX_ITEM_LIST_LENGTH=8", "--show_progress=False"]
FAST += ["--state=ERROR"]


def test_train_prints_the_table(made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_train(["--dataset=made", f"--data_path={made['data_path']}", *FAST]) == 0
    printed = capsys.readouterr().out
    for word in ("validation", "test", "ndcg@10", "best epoch", "seconds an epoch", "parameters", "Next:"):
        assert word in printed
    assert Path(re.search(r"saved/\S+\.pth", printed)[0]).is_file()


def test_config_files_are_read_in_order(
    made: dict[str, Any], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "a.yaml").write_text("topk: [3]\nvalid_metric: NDCG@3\n")
    (workplace / "b.yaml").write_text("topk: [7]\nvalid_metric: NDCG@7\n")
    data = ["--dataset=made", f"--data_path={made['data_path']}"]
    assert run_train([*data, *FAST, "--config_files", "a.yaml b.yaml"]) == 0
    assert "ndcg@7" in capsys.readouterr().out


def test_a_stopped_run_names_the_file_to_continue_from(
    made: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_clia.running.trainer import CLIATrainer

    data = ["--dataset=made", f"--data_path={made['data_path']}", *(word for word in FAST if "epochs" not in word)]
    train_epoch = CLIATrainer._train_epoch

    def interrupted(self: Any, loader: Any, epoch: int, *args: Any, **kwargs: Any) -> Any:
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(self, loader, epoch, *args, **kwargs)

    monkeypatch.setattr(CLIATrainer, "_train_epoch", interrupted)
    assert run_train([*data, "--epochs=4"]) == 130
    last = re.search(r"--resume (\S+)", capsys.readouterr().err)[1]
    monkeypatch.setattr(CLIATrainer, "_train_epoch", train_epoch)
    assert run_train([*data, "--epochs=4", "--resume", last]) == 0
    assert "of 4" in capsys.readouterr().out


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """This one, and those of its sub-commands and of theirs."""
    below = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(one for choices in below for child in choices.values() for one in parsers(child))]


def values_of(action: argparse.Action) -> list[list[str]]:
    """Two values that an option takes."""
    one, other = list(action.choices)[:2] if action.choices else ("1", "2")
    return [[one, other], [other]] if action.nargs == "+" else [[one], [other]]


# -h, --version and flags store no value.
OPTIONS = [
    (parser.prog, action.option_strings, values_of(action))
    for parser in parsers(make_parser())
    for action in parser._actions
    if action.option_strings and action.nargs != 0
]


@pytest.mark.parametrize(("program", "names", "values"), OPTIONS, ids=lambda value: str(value))
def test_an_option_given_twice_with_two_values_is_refused(
    capsys: pytest.CaptureFixture[str], program: str, names: list[str], values: list[list[str]]
) -> None:
    one, other = ([names[at], *value] for at, value in zip((0, -1), values, strict=True))
    [parser] = [parser for parser in parsers(make_parser()) if parser.prog == program]
    with pytest.raises(SystemExit) as stop:
        parser.parse_known_args([*one, *other])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert re.fullmatch(rf"recbole-clia: {names[0]} is given twice, as '(\S+ ?)+' and as '\S+'\n", told)


def test_an_option_given_twice_alike_is_taken() -> None:
    words = ["--dataset=a", "-d", "a", "--trials=3", "--trials=03", "--model=A"]
    arguments, rest = make_parser().parse_known_args(["tune", *words])
    assert (arguments.dataset, arguments.trials, arguments.model, rest) == ("a", 3, "A", [])


def test_the_next_commands_can_be_typed_as_they_are_printed() -> None:
    folder = "my data/it's"
    file = "my models/CLIA.pth"
    result: dict[str, Any] = dict.fromkeys(["log_file", "seconds_per_epoch", "best_epoch"])
    result |= {"model": "CLIA", "dataset": "my log", "evaluation": "full ranking", "model_file": file}
    result |= {"best_valid_result": {}, "test_result": {}, "epochs": 1, "seconds": 1.0, "parameters": 1}
    lines = report(result, folder).partition("Next:")[2].splitlines()
    commands = [shlex.split(line.strip().partition("    ")[0]) for line in lines]
    trained = [words for words in commands if "train" in words]
    assert len(trained) == 2
    for words in trained:
        assert {"--dataset=my log", f"--data_path={folder}"} <= set(words)
    [diagnosed] = [words for words in commands if "diagnose" in words]
    assert diagnosed[-2:] == ["diagnose", file]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model=SASRec"], "bench: model is not read; single epochs of the models of --models are timed, without"),
        (["--epochs=3"], "bench: epochs is not read"),
        (["--train_seconds=3"], "bench: train_seconds is not read"),
        (["--packed=False"], "in the forms that --forms names"),
        (["--topk=[5]"], "bench: topk is not read"),
        (["--batches=0"], "--batches must be at least 1, not 0"),
        (
            ["--models", "NARM", "CORE", "--forms", "rows"],
            "no form rows of NARM, CORE; allowed are packed, recbole, released",
        ),
    ],
)
def test_bench_refuses_what_it_does_not_read(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["bench", *words]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.strip().splitlines()) == 1
    assert not list(workplace.iterdir())


def test_doctor_finds_no_fault_here(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "The main job can run here" in printed
    assert "torch" in printed
    assert "property files" in printed


def test_doctor_ends_non_zero_on_a_fault(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import recbole

    monkeypatch.setattr(recbole, "__version__", "1.1.1")
    assert main(["doctor"]) == 1
    assert "fault: recbole 1.1.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--epocs=3"], "'epocs' is read by nothing; did you mean epochs?"),
        (["--contrastive_weight=1"], "did you mean contrastive_loss_weight?"),
        (["--n_heads=4"], "'n_heads' is not read by CLIA"),
        (["--model=CLAI"], "did you mean CLIA?"),
        (["--dataset=ml-100"], "did you mean ml-100k?"),
        (["--dataset=taobao"], "fetch its files from https://tianchi.aliyun.com"),
        (["--dataset=taobao"], "recbole-clia convert taobao FILES... dataset"),
        (["--dataset=retailroket"], "did you mean retailrocket?"),
        (["--dropout_prob=1.5"], "dropout_prob must be in [0, 1), not 1.5"),
        (["--embedding_size=0"], "embedding_size must be in [1, inf), not 0"),
        (["--embedding_size=big"], "embedding_size must be int, not 'big'"),
        (["--epochs=-1"], "epochs must be in [0, inf), not -1"),
        (["--learning_rate=0"], "learning_rate must be in (0, inf), not 0"),
        (["--loss_type=MSE"], "loss_type must be one of CE, SSM, BPR, not 'MSE'"),
        (["--contrastive_loss=cosine"], "contrastive_loss must be one of bpr, triplet, infonce"),
        (["--temperature=0"], "temperature must be in (0, inf), not 0"),
        (["--fixed_alpha=2"], "fixed_alpha must be in [0, 1], not 2"),
        (["--packed_stride=201"], "packed_stride"),
        (["--topk=[0]"], "topk"),
        (["--metrics=['Accuracy']"], "Accuracy"),
        (["--topk=[]"], "topk: it must be a number of at least 1 or a list of them, not empty"),
        (["--topk=5"], "valid_metric: 'MRR@10' is not among what metrics and topk compute, which is recall@5, mrr@5"),
        (["--metrics=['NDCG', 'Hit']"], "valid_metric: 'MRR@10' is not among"),
        (["--valid_metric=FOO@10"], "valid_metric: 'FOO@10' is not among"),
        (["--eval_args={'split': {}}"], "its split must have one of the keys RS, LS and TS, not {}"),
        (["--eval_args={'split': {'LS': 'foo'}}"], "the split LS must be one of valid_and_test, valid_only, test_only"),
        (["--user_inter_num_interval=13"], "user_inter_num_interval must be an interval such as '[5,inf)'"),
        (["--val_interval={'rating': '>=3'}"], "val_interval: rating must be an interval such as '[5,inf)'"),
        (["--learner=sparse_adam"], "learner must be one of adam"),
        (["--data_cache=True"], "data_cache must be str or None, not True"),
        (["--nproc=0"], "nproc must be at least 1, not 0"),
        (["--config_files=nowhere.yaml"], "nowhere.yaml: No such file"),
        (["stray"], "'stray' must have the form --key=value"),
        (["--epochs"], "'--epochs' must have the form --key=value"),
        (["--epochs=1", "--epochs=2"], "--epochs is given twice"),
        (["--nproc=many"], "invalid int value: 'many'"),
        (
            ["--train_neg_sample_args={'distribution': 'uniform'}"],
            "loss_type CE takes no negatives",
        ),
        (["--loss_type=BPR", "--train_neg_sample_args={'distribution': 'odd'}"], "it has no distribution 'odd'"),
        (["--loss_type=BPR", "--train_neg_sample_args={'sample_number': 2}"], "it has no key 'sample_number'"),
        (["--loss_type=BPR", "--train_neg_sample_args={'sample_num': 0}"], "negative_num must be in [1, inf)"),
        (["--negative_sampling=odd"], "negative_sampling must be one of uniform, popularity"),
        (["--negative_num=[[0, 0], [3, 5]]"], "negative_num must be in [1, inf) in every epoch"),
        (["--negative_num=[[3, 1], [2, 5]]"], "the epochs of a schedule must rise"),
        (["--contrastive_loss_weight=[0.1, 0.2]"], "a schedule is a number or a list of [epoch, value]"),
        (["--contrastive_loss_weight=[[0, -1]]"], "contrastive_loss_weight must be in [0, inf) in every epoch"),
        (["--contrastive_task_weights=[1, 1]"], "contrastive task weights must be four"),
        (["--contrastive_task_weights=[1, 1, 1, -1]"], "must be a list whose elements are in [0, inf)"),
        (["--augmentation=['crop', 'odd']"], "must be a list whose elements are one of crop, mask, reorder"),
        (["--augmentation=[]"], "augmentation must be"),
        (["--resume=nowhere.last.pth"], "nowhere.last.pth"),
        (["--train_batch_size=__import__('os').system('touch was-run')"], "train_batch_size must be int"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence_and_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    try:
        code = run_train(["--show_progress=False", "--state=CRITICAL", *words])
    except SystemExit as stop:  # argparse ends the process itself
        code = stop.code
    printed = capsys.readouterr()
    assert code == 2
    assert sentence in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert "validation" not in printed.out
    assert not (workplace / "was-run").exists()
    assert not list(workplace.rglob("*.pth"))


def test_a_column_that_is_missing_is_named(
    made: dict[str, Any], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset=made", f"--data_path={made['data_path']}", "--state=CRITICAL"]
    assert run_train([*words, "--TIME_FIELD=when"]) == 2
    assert "line 1: there is no field 'when' among user_id, item_id, timestamp" in capsys.readouterr().err
    assert run_train([*words, "--load_col={'inter': ['user_id', 'item_id']}"]) == 2
    assert "must hold 'timestamp' (TIME_FIELD)" in capsys.readouterr().err
    (workplace / "dataset/made/made.inter").unlink()
    assert run_train(words) == 2
    assert "there is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "made.inter: it holds no interaction"),
        ([(1, 1, 1.0)], "made.inter: one user is all that is left of it; two are needed"),
        ([(1, i, float(i)) for i in range(15)], "made.inter: one user is all that is left of it; two are needed"),
        ([(u, 1, float(t)) for u in (1, 2) for t in range(5)], "made.inter: one item is all that is left of it"),
        ([(1, 1, 1.0), (2, 2, 2.0), (3, 3, 3.0)], "made.inter: all histories are too short"),
        ([(u, i, float(i)) for u in (1, 2) for i in range(5)], "topk: 10 is more than the 5 items of 'made'"),
    ],
)
@pytest.mark.parametrize("model", ["CLIA", "GRU4Rec"])
def test_too_little_data_gets_one_sentence(
    workplace: Path, capsys: pytest.CaptureFixture[str], rows: list[Any], sentence: str, model: str
) -> None:
    data = write_log(workplace / "dataset", rows)
    words = [f"--model={model}", "--dataset=made", f"--data_path={data}", "--show_progress=False", "--state=CRITICAL"]
    assert run_train(words) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.strip().splitlines()) == 1


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "a: !!python/object/apply:os.system ['touch was-run']\n"])
def test_a_bad_config_file_is_named(workplace: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (workplace / "bad.yaml").write_text(text)
    assert run_train(["--config_files=bad.yaml"]) == 2
    assert "config file bad.yaml" in capsys.readouterr().err
    assert not (workplace / "was-run").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("--alias_of_item_id=['other']", "dataset 'made': its settings name 'other', which is no field that is loaded"),
        ("--val_interval={'stars': '[1,2]'}", "val_interval: the field 'stars' is not loaded; name it in load_col"),
    ],
)
def test_a_setting_that_names_no_field_is_told(
    made: dict[str, Any], capsys: pytest.CaptureFixture[str], setting: str, sentence: str
) -> None:
    assert run_train(["--dataset=made", f"--data_path={made['data_path']}", "--state=CRITICAL", setting]) == 2
    assert sentence in capsys.readouterr().err


def test_all_columns_may_be_asked_for(made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--dataset=made", f"--data_path={made['data_path']}", "--load_col={'inter': '*'}"]
    assert run_train([*words, *FAST]) == 0


@pytest.mark.parametrize("name", ["log", "saved", "log_tensorboard"])
def test_a_folder_that_cannot_be_made_is_named(
    made: dict[str, Any], workplace: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (workplace / name).write_text("a file of the user's")
    assert run_train(["--dataset=made", f"--data_path={made['data_path']}", *FAST]) == 2
    printed = capsys.readouterr().err
    assert re.fullmatch(rf"recbole-clia: (\./)?{name}\S* cannot be used: (File exists|Not a directory)\n", printed)
    assert (workplace / name).read_text() == "a file of the user's"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "this disk cannot be used: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y cannot be used: Permission denied"),
        (OSError("nobody knows"), None),
    ],
)
def test_what_the_machine_refuses_is_told_and_a_fault_of_the_code_is_not_hidden(
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    sentence: str | None,
) -> None:
    def refused(arguments: Any) -> int:
        raise error

    monkeypatch.setattr(doctor, "doctor", refused)
    if sentence is None:
        with pytest.raises(OSError, match="nobody knows"):
            main(["doctor"])
    else:
        assert main(["doctor"]) == 2
        assert capsys.readouterr().err == f"recbole-clia: {sentence}\n"


def test_a_folder_may_be_called_by_a_number(made: dict[str, Any], workplace: Path) -> None:
    (workplace / "dataset").rename("2024")
    words = [
        "--dataset=made",
        "--data_path=2024",
        "--checkpoint_dir=7",
        "--data_cache=2.5",
        "--epochs=1",
        "--state=ERROR",
    ]
    assert run_train([*words, "--show_progress=False"]) == 0
    assert list(Path("7").glob("CLIA-*.pth"))
    assert list(Path("2.5").iterdir())


def test_ml_100k_is_the_users_own_where_there_is_one(workplace: Path) -> None:
    """RecBole takes its own copy, whatever data_path says."""
    assert len(PluginConfig("CLIA", "ml-100k").remarks) == 0
    bundled = PluginConfig("CLIA", "ml-100k", config_dict={"data_path": "elsewhere"})
    assert "dataset_example" in bundled["data_path"]
    assert any("there is no elsewhere/ml-100k/ml-100k.inter, so RecBole's own copy" in said for said in bundled.remarks)
    for folder in ("elsewhere", "dataset"):
        write_log(workplace / folder, random_rows(7), "ml-100k")
    for settings in ({"data_path": "elsewhere"}, {}):
        own = PluginConfig("CLIA", "ml-100k", config_dict=settings)
        assert own["data_path"] == f"{settings.get('data_path', 'dataset')}/ml-100k"
        assert not own.remarks
        assert create_dataset(own).user_num == 25
