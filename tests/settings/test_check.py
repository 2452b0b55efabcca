"""Laws of the checks: what is refused, what passes, and what the refusal says."""

import math
import re

import pytest

from recbole_clia.errors import UsageError
from recbole_clia.settings.check import (
    HOST_RANGES,
    INTERVAL_KEYS,
    check_filters,
    check_keys,
    check_model,
    check_values,
    framework_keys,
    model_keys,
    nearest,
    property_file,
    recbole_dir,
)
from recbole_clia.settings.properties import PROPERTIES_DIR, plain_yaml, read_properties

CLIA = read_properties(PROPERTIES_DIR / "model/CLIA.yaml")
OVERALL = recbole_dir() / "properties/overall.yaml"
SAMPLE = recbole_dir() / "properties/dataset/sample.yaml"
QUICK_START = sorted((recbole_dir() / "properties/quick_start_config").glob("*.yaml"))


def classes():
    """RecBole's models, by the rule that it finds them: class ``Name`` in the module ``name``."""
    found = []
    for path in (recbole_dir() / "model").glob("*_recommender/*.py"):
        names = re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        found += [name for name in names if name.lower() == path.stem]
    return sorted(found)


def built_in():
    """Names of property files, as far as RecBole has a class of that name."""
    return sorted({path.stem for path in (recbole_dir() / "properties/model").glob("*.yaml")} & set(classes()))


# ----- models


def test_there_are_built_in_models():
    assert {"SASRec", "GRU4Rec", "BPR", "LightGCN", "KGAT", "DeepFM"} <= set(built_in())
    assert len(built_in()) > 80


@pytest.mark.parametrize("model", [*classes(), "CLIA"])
def test_every_model_is_known(model):
    check_model(model)


@pytest.mark.parametrize(
    ("model", "right"),
    [
        ("SASrec", "SASRec"),
        ("sasrec", "SASRec"),
        ("CLAI", "CLIA"),
        ("clia", "CLIA"),
        ("GRU", "GRU4Rec"),
        ("Prophet", None),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_name(model, right):
    with pytest.raises(UsageError, match=f"model '{model}' is unknown") as refusal:
        check_model(model)
    if right:
        assert str(refusal.value).endswith(f"; did you mean {right}?")


def test_nearest():
    assert nearest("LEARNING_RAT", ["learning_rate", "seed"]) == "; did you mean learning_rate?"
    assert nearest("max_item_list_length", ["MAX_ITEM_LIST_LENGTH"]) == "; did you mean MAX_ITEM_LIST_LENGTH?"
    assert nearest("zzz", ["learning_rate", "seed"]) == ""
    assert nearest("music", ["yahoo-music", "kgrec-music"]) == nearest("test", ["pinterest", "jester"]) == ""
    assert nearest("BERT", ["SASRec", "BERT4RecX", "BERT4Rec"]) == "; did you mean BERT4Rec?"
    assert nearest("ml", ["ml-100k"]) == ""
    assert nearest("x", []) == ""


# ----- keys


def own_properties(model):
    path = property_file(model)
    return read_properties(path) if path else {}


@pytest.mark.parametrize("path", [OVERALL, SAMPLE, *QUICK_START], ids=lambda p: p.stem)
def test_every_key_of_recboles_own_files_passes_for_any_model(path):
    keys = plain_yaml(path.read_text(encoding="utf-8"))
    for model in ("CLIA", "SASRec", "BPR"):
        assert check_keys(keys, model, "here") == []


@pytest.mark.parametrize("model", [*built_in(), "CLIA"])
def test_every_key_of_a_model_passes_for_it(model):
    assert check_keys(own_properties(model), model, "here") == []


def test_keys_of_a_run_pass():
    assert check_keys(["model", "dataset", "nproc", "world_size", "ip", "port", "config_files"], "CLIA", "here") == []
    assert check_keys([], "CLIA", "here") == []


@pytest.mark.parametrize("key", [key for key in CLIA if len(key) > 5])
def test_a_misspelt_key_is_refused_with_the_nearest_right_name(key):
    for wrong in (key[:-1], key[:2] + key[3:], key + "x", key.upper()):
        if wrong in framework_keys() | model_keys("CLIA"):
            continue
        with pytest.raises(UsageError) as refusal:
            check_keys([wrong], "CLIA", "my.yaml")
        assert str(refusal.value) == f"my.yaml: the key {wrong!r} is read by nothing; did you mean {key}?"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("learning_rat", "learning_rate"),
        ("Learning_Rate", "learning_rate"),
        ("MAX_ITEM_LIST_LENGHT", "MAX_ITEM_LIST_LENGTH"),
        ("train_batchsize", "train_batch_size"),
        ("stoping_step", "stopping_step"),
        ("eval_arg", "eval_args"),
    ],
)
@pytest.mark.parametrize("model", ["CLIA", "SASRec"])
def test_a_misspelt_key_of_recbole_is_refused_with_the_nearest_right_name(wrong, right, model):
    with pytest.raises(UsageError, match=rf"'{wrong}' is read by nothing; did you mean {right}\?"):
        check_keys(["epochs", wrong], model, "here")


def test_a_key_like_no_other_is_refused_without_a_guess():
    with pytest.raises(UsageError, match=r"^here: the key 'qqqqzzzz' is read by nothing$"):
        check_keys(["qqqqzzzz"], "CLIA", "here")


KEYS_OF_OTHERS = pytest.mark.parametrize(
    ("key", "model", "owner"), [("inner_size", "CLIA", "SASRec"), ("temperature", "BPR", "CLIA")]
)


@KEYS_OF_OTHERS
def test_a_key_of_another_model_is_reported_where_models_share_a_file(key, model, owner):
    remarks = check_keys(["epochs", key], model, "my.yaml", shared=True)
    assert len(remarks) == 1
    assert remarks[0].startswith(f"my.yaml: the key {key!r} is not read by {model}")
    assert check_keys([key], owner, "my.yaml", shared=True) == []


@KEYS_OF_OTHERS
def test_a_key_of_another_model_is_refused_elsewhere(key, model, owner):
    with pytest.raises(UsageError, match=f"^settings: the key '{key}' is not read by {model}"):
        check_keys(["epochs", key], model, "settings")
    assert check_keys([key], owner, "settings") == []


def test_a_shared_file_is_no_excuse_for_a_key_that_nothing_reads():
    with pytest.raises(UsageError, match="read by nothing"):
        check_keys(["epoch_s"], "CLIA", "my.yaml", shared=True)


def test_models_keep_their_keys_apart():
    assert frozenset(CLIA) <= model_keys("CLIA")
    assert "contrastive_recent_k" not in framework_keys() | model_keys("SASRec")
    assert "n_layers" in model_keys("SASRec")


# ----- values


@pytest.mark.parametrize("model", [*built_in(), "CLIA"])
def test_every_default_passes(model):
    own = own_properties(model)
    for properties in (read_properties(OVERALL), read_properties(SAMPLE), own):
        defaults = {key: p.default for key, p in properties.items() if properties is own or key not in own}
        check_values(defaults, defaults, model)


def as_recbole_hands_over(values):
    """RecBole's ``Config`` rewrites a few values before they come to the check."""
    values = dict(values)
    if values.get("train_neg_sample_args", {}) is None:
        values["train_neg_sample_args"] = {"distribution": "none"}
    if isinstance(values.get("additional_feat_suffix"), str):
        values["additional_feat_suffix"] = [values["additional_feat_suffix"]]
    return values


@pytest.mark.parametrize("path", QUICK_START, ids=lambda p: p.stem)
@pytest.mark.parametrize("model", ["SASRec", "DIN", "DeepFM", "KGAT", "CLIA"])
def test_what_recbole_sets_itself_passes(path, model):
    values = as_recbole_hands_over(plain_yaml(path.read_text(encoding="utf-8")))
    check_values(values, values, model)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "CLIA"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_neg_sample_args", {"distribution": "none"}),
        ("load_col", None),  # all columns
        ("load_col", {"inter": ["user_id", "item_id"]}),
        ("topk", 10),
        ("topk", [5, 10]),
        ("metrics", "NDCG"),
        ("metrics", ["NDCG"]),
        ("weight_decay", 0),
        ("epochs", 0),
        ("gpu_id", 0),
        ("clip_grad_norm", {"max_norm": 5}),
        ("learner", "adamw"),
    ],
)
def test_what_recbole_documents_passes(model, key, value):
    check_values({key: value}, [key], model)


def values_beside(allowed):
    """Values just inside and just outside a range, from its text."""
    if allowed.choices is not None:
        return list(allowed.choices), ["nonsense", None, 7]
    inside, outside = [], [math.nan, "text", True]
    for end, closed, out in [
        (allowed.low, allowed.text[0] == "[", -1),
        (allowed.high, allowed.text[-1] == "]", 1),
    ]:
        if math.isfinite(end):
            whole = int(end) if end == int(end) else end
            (inside if closed else outside).append(whole)
            outside.append(whole + out)
    return inside, outside


@pytest.mark.parametrize("key", [key for key in CLIA if CLIA[key].allowed and CLIA[key].type != "list"])
def test_clias_ranges_are_kept(key):
    inside, outside = values_beside(CLIA[key].allowed)
    for value in inside:
        check_values({key: value}, [key], "CLIA")
    for value in outside:
        if value is None and CLIA[key].default is None:
            continue
        with pytest.raises(UsageError, match=f"^{key} must be ") as refusal:
            check_values({key: value}, [key], "CLIA")
        assert str(refusal.value).endswith(f", not {value!r}")


@pytest.mark.parametrize("key", [key for key in CLIA if CLIA[key].allowed and CLIA[key].type == "list"])
def test_clias_ranges_of_lists_are_kept(key):
    inside, outside = values_beside(CLIA[key].allowed)
    inside = inside or CLIA[key].default  # no end of an open range is inside
    check_values({key: inside}, [key], "CLIA")
    for value in outside:
        for wrong in ([*inside, value], value):
            with pytest.raises(UsageError, match=f"^{key} must be (a list whose elements are|list)") as refusal:
                check_values({key: wrong}, [key], "CLIA")
            assert str(refusal.value).endswith(f", not {wrong!r}")


@pytest.mark.parametrize("key", [key for key in CLIA if "schedule" in CLIA[key].type])
def test_clias_schedules_keep_to_the_range_in_every_epoch(key):
    low = int(CLIA[key].allowed.low)
    check_values({key: [[0, low], [5, low + 2.5]]}, [key], "CLIA")
    with pytest.raises(UsageError, match=rf"^{key} must be in \[{low}, inf\) in every epoch, not \[\[0, {low}\], "):
        check_values({key: [[0, low], [5, low - 0.5]]}, [key], "CLIA")
    with pytest.raises(UsageError, match=f"^{key} must be .*a schedule is a number or a list of"):
        check_values({key: [low, low + 1]}, [key], "CLIA")


def test_clia_has_lists_and_schedules():
    assert {key for key in CLIA if "schedule" in CLIA[key].type} >= {"contrastive_loss_weight", "negative_num"}
    assert {key for key in CLIA if CLIA[key].type == "list"} >= {"contrastive_task_weights", "augmentation"}


@pytest.mark.parametrize("key", HOST_RANGES)
@pytest.mark.parametrize("model", ["SASRec", "CLIA"])
def test_recboles_ranges_are_kept(key, model):
    inside, outside = values_beside(HOST_RANGES[key])
    for value in inside:
        check_values({key: value}, [key], model)
    for value in outside:
        if value is None:
            continue
        with pytest.raises(UsageError, match=f"^{key} must be ") as refusal:
            check_values({key: value}, [key], model)
        assert str(refusal.value).endswith(f", not {value!r}")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("epochs", -1, "in [0, inf)"),
        ("epochs", 1.5, "int"),
        ("epochs", None, "int"),
        ("learning_rate", 0, "in (0, inf)"),
        ("learning_rate", "fast", "float"),
        ("train_batch_size", True, "int"),
        ("contrastive_loss", "simclr", "one of bpr, triplet, infonce"),
        ("dropout_prob", 1.0, "in [0, 1)"),
        ("packed", "yes", "bool"),
        ("packed", 1, "bool"),
        ("fixed_alpha", 1.01, "in [0, 1]"),
        ("eval_args", "LS", "dict"),
    ],
)
def test_a_refusal_names_the_key_what_is_allowed_and_what_was_given(key, value, allowed):
    with pytest.raises(UsageError) as refusal:
        check_values({key: value}, [key], "CLIA")
    assert str(refusal.value) == f"{key} must be {allowed}, not {value!r}"


def test_only_the_keys_that_are_asked_about_are_checked():
    check_values({"epochs": -1, "temperature": 0}, [], "CLIA")
    check_values({"epochs": -1, "temperature": 0.5}, ["temperature"], "CLIA")


def test_a_key_that_nothing_documents_may_hold_anything():
    check_values({"some_field": object()}, ["some_field"], "CLIA")


# ----- filters


@pytest.mark.parametrize("key", sorted(INTERVAL_KEYS))
@pytest.mark.parametrize("value", ["[5,inf)", "(0, 3]", "[-inf,inf]", "[1,2];[4,5)", " [1.5,2e3) ", None])
def test_an_interval_passes(key, value):
    check_filters({key: value, "val_interval": {"rating": "[3,inf)", "kind": ["a", "b"]}}, [key, "val_interval"])


@pytest.mark.parametrize(
    "value", [13, "13-", "x", "[13,inf", "13,inf)", "[5,4]", "[a,b]", "", "[1,2];3", "[1,2,3]", "[nan,3]"]
)
def test_what_is_no_interval_is_refused(value):
    for settings, named in [
        ({"item_inter_num_interval": value}, "item_inter_num_interval"),
        ({"val_interval": {"rating": value}}, "val_interval: rating"),
    ]:
        with pytest.raises(UsageError, match=rf"^{named} must be an interval such as '\[5,inf\)'"):
            check_filters(settings, settings)


def test_filters_by_value_are_a_mapping():
    with pytest.raises(UsageError, match="val_interval must be a mapping of fields to intervals, not '>=3'"):
        check_filters({"val_interval": ">=3"}, ["val_interval"])
