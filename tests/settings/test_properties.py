"""Laws of property files: what their lines say, and what a text may become."""

import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import recbole_clia
from recbole_clia.settings.check import framework_keys
from recbole_clia.settings.properties import (
    PROPERTIES_DIR,
    Allowed,
    Property,
    plain_value,
    plain_yaml,
    read_properties,
)

laws = settings(derandomize=True, deadline=None, max_examples=300)
MODEL_FILES = sorted((PROPERTIES_DIR / "model").glob("*.yaml"))
SOURCE = Path(recbole_clia.__file__).parent


# ----- what a text becomes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1e-3", -0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("7", 7),
        ("-7", -7),
        ("[1,2]", [1, 2]),
        ("['a', 'b']", ["a", "b"]),
        ("[a, b]", ["a", "b"]),
        ("{'LS': 'valid_and_test'}", {"LS": "valid_and_test"}),
        ("{LS: valid_and_test}", {"LS": "valid_and_test"}),
        ("{a: 1e-3}", {"a": 0.001}),
        ("None", None),
        ("none", None),
        ("null", None),
        ("~", None),
        ("", None),
        ("True", True),
        ("true", True),
        ("False", False),
        ("FALSE", False),
        ("ml-100k", "ml-100k"),
        ("'quoted'", "quoted"),
        ("NDCG@10", "NDCG@10"),
        ("dataset/here", "dataset/here"),
        ("[0,inf)", "[0,inf)"),
        ("2020-10-10", "2020-10-10"),
        ("key: ", "key: "),
        ("010", "010"),
        ("\t", "\t"),
        (" ", " "),
        ("12:30", "12:30"),
        ("[1, 2", "[1, 2"),
    ],
)
def test_a_text_becomes_a_value(text, value):
    got = plain_value(text)
    assert got == value
    assert type(got) is type(value)


HOSTILE = [
    "(lambda: 1)()",
    "__import__('os').system('x')",
    "open('/etc/passwd').read()",
    "print",
    "1 if True else 2",
    "2 ** 10 ** 10",
    "f'{1 + 1}'",
    "!!python/object/apply:os.system ['x']",
    "!!python/name:os.system",
    "!!python/object/new:os.system [x]",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_code_stays_a_text(text, monkeypatch):
    def trap(*_, **__):
        raise AssertionError("code was run")

    monkeypatch.setattr("os.system", trap)
    monkeypatch.setattr("builtins.open", trap)
    assert plain_value(text) == text


@pytest.mark.parametrize("text", ["[x for x in (1, 2)]", "[print('x')]", "{a: open('x')}"])
def test_code_that_is_yaml_as_well_is_only_yaml(text):
    assert plain_value(text) == plain_yaml(text)
    assert "<function" not in repr(plain_value(text))


@pytest.mark.parametrize("text", [t for t in HOSTILE if t.startswith("!!")])
def test_yaml_refuses_a_tag_that_names_code(text):
    with pytest.raises(yaml.YAMLError):
        plain_yaml(text)
    with pytest.raises(yaml.YAMLError):
        plain_yaml(f"key: {text}")


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@laws
@given(st.text(max_size=12))
def test_any_text_has_a_value(text):
    plain_value(text)


@laws
@given(st.text("0123456789-+._:,[]{}()'\"!&*~eEx#aT \n", max_size=12))
def test_any_text_of_numbers_and_brackets_has_a_value(text):
    plain_value(text)


@pytest.mark.parametrize(
    "text",
    ["2020-13-45", "._", "0x_", "{[]: 1}", "{[1]}", pytest.param("1" * 5000, id="5000 digits")],
)
def test_a_text_that_is_almost_a_number_or_a_set_stays_itself(text):
    assert plain_value(text) == text


def test_a_text_nested_too_deep_stays_itself():
    text = "[" * 5000
    assert plain_value(text) == text


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@laws
@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()))
def test_a_number_written_down_comes_back(value):
    got = plain_value(repr(value))
    assert got == value
    assert type(got) is type(value)


@laws
@given(st.lists(plain, max_size=3) | st.dictionaries(st.text(max_size=3), plain, max_size=3))
def test_a_collection_written_down_comes_back(value):
    assert plain_value(repr(value)) == value


@laws
@given(st.from_regex(r"[-+]?[0-9]{1,6}(\.[0-9]{0,4})?[eE][-+]?[0-9]{1,2}", fullmatch=True))
def test_yaml_reads_every_exponent_as_a_number(text):
    assert plain_yaml(f"key: {text}") == {"key": float(text)}


# ----- what is allowed


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1]", [0, 0.5, 1, 1.0], [-1e-9, 1.0000001, 2]),
        ("(0, 1)", [1e-9, 0.5], [0, 0.0, 1, -1]),
        ("[0, 1)", [0, 0.999], [1, 1.0]),
        ("(0, 1]", [1, 1e-300], [0, 1.1]),
        ("[1, inf)", [1, 10**400, 1e308], [0, 0.99, math.inf, -math.inf]),
        ("(0, inf)", [1e-300, 5], [0, -1, math.inf]),
        ("(-inf, inf)", [0, -1e308, 1e308], [math.inf, -math.inf]),
        ("[-inf, 0]", [-math.inf, 0], [1e-9]),
        ("[ -1 ,1e3 ]", [-1, 1000], [-2, 1001]),
        ("[0, 4294967295]", [0, 2**32 - 1], [2**32]),
    ],
)
def test_interval(text, inside, outside):
    allowed = Allowed.parse(text)
    assert allowed.choices is None
    assert all(allowed.admits(v) for v in inside)
    assert not any(allowed.admits(v) for v in outside)
    for other in (True, False, "0.5", None, [0.5], math.nan, 1j, {}):
        assert not allowed.admits(other)
    assert str(allowed) == f"in {text}"


@laws
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from("[("), st.sampled_from("])"), st.floats(-1e6, 1e6))
def test_interval_for_any_numbers(low, high, left, right, value):
    allowed = Allowed.parse(f"{left}{low!r}, {high!r}{right}")
    for v in (value, low, high):
        inside = (low <= v if left == "[" else low < v) and (v <= high if right == "]" else v < high)
        assert allowed.admits(v) == inside


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("['BPR', 'CE']", ("BPR", "CE")),
        ("['one']", ("one",)),
        ("[True, False]", (True, False)),
        ("('a', 'b', 'c')", ("a", "b", "c")),
        ("[1, 2, 3]", (1, 2, 3)),
    ],
)
def test_choices(text, choices):
    allowed = Allowed.parse(text)
    assert allowed.choices == choices
    assert all(allowed.admits(c) for c in choices)
    assert not any(allowed.admits(v) for v in ("other", "", None, 7, ["BPR"], {}))
    assert str(allowed) == "one of " + ", ".join(map(str, choices))


@pytest.mark.parametrize("text", ["[1", "(low, high)", "[os.system('x')]", ""])
def test_a_range_that_says_nothing_is_refused(text):
    with pytest.raises((ValueError, SyntaxError)):
        Allowed.parse(text)


# ----- what a line complains of


def prop(kind, default=1, allowed=None):
    return Property("key", default, kind, "meaning", Allowed.parse(allowed) if allowed else None)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int", [0, -3, 10**30], [1.0, 1.5, "1", True, None, [1]]),
        ("float", [0, 1.5, math.inf], ["1", False, None, [1.0]]),
        ("bool", [True, False], [0, 1, "True", None]),
        ("list", [[], [1], (1, 2)], [1, "[1]", None, {}]),
        ("dict", [{}, {"a": 1}], [[], "{}", None]),
        ("int or None", [3, None], [1.5, True, "None"]),
        ("float or None", [3, 0.5, None], [True, "x"]),
        ("list or int", [[1], 5], ["5", True, None]),
        ("list, dict", [[1], {}], [5, None]),
        ("bool or int", [True, 3], [0.5, "3"]),
        ("str", ["a", ""], []),
        ("list or str", ["a", ["a"]], []),
        ("", [1, "a", [1]], []),
    ],
)
def test_type(kind, good, bad):
    line = prop(kind)
    assert [v for v in good if line.complaint(v)] == []
    for value in bad:
        assert line.complaint(value) == f"must be {kind}, not {value!r}"


@pytest.mark.parametrize("value", [1e305, -1e39, 10**400, 1e-40, -1e-320])
@pytest.mark.parametrize("kind", ["float", "list or float", "float or schedule"])
def test_numbers_that_no_tensor_holds_are_refused(kind, value):
    wanted = prop(kind, 0.5, "(-inf, inf)")
    points = [[0, value]] if "schedule" in kind else [1.0, value]
    for one in [value] + [points] * (kind != "float"):
        complaint = wanted.complaint(one)
        assert "single precision" in complaint or "beyond all floating-point" in complaint
        assert len(complaint) < 200
    assert wanted.complaint(0.0) is None


def test_range_after_type():
    line = prop("float", 0.5, "[0, 1)")
    assert line.complaint(0) is None
    assert line.complaint(1) == "must be in [0, 1), not 1"
    assert line.complaint("0") == "must be float, not '0'"
    assert prop("str", "CE", "['CE', 'BPR']").complaint("ce") == "must be one of CE, BPR, not 'ce'"
    assert prop("str", "CE", "['CE', 'BPR']").complaint(3) == "must be one of CE, BPR, not 3"


def test_nothing_is_fine_where_the_default_or_the_type_is_nothing():
    assert prop("int", None, "[1, inf)").complaint(None) is None
    assert prop("int or None", 5, "[1, inf)").complaint(None) is None
    assert prop("int", 5, "[1, inf)").complaint(None) == "must be int, not None"


def test_a_schedule_is_a_number_or_points():
    line = prop("float or schedule", 0.1, "[0, inf)")
    for good in (0, 0.5, 3, [[0, 1.0]], [[0, 0], [5, 0.25]], ((0, 1), (2, 0))):
        assert line.complaint(good) is None
    assert line.complaint("0.5") == "must be float or schedule, not '0.5'"
    assert line.complaint(True) == "must be float or schedule, not True"
    assert line.complaint(None) == "must be float or schedule, not None"
    assert line.complaint(-1) == "must be in [0, inf), not -1"
    assert line.complaint([[0, 1], [3, -1]]) == "must be in [0, inf) in every epoch, not [[0, 1], [3, -1]]"
    assert line.complaint([[0, math.inf]]) == "must be in [0, inf) in every epoch, not [[0, inf]]"
    what = "must be float or schedule: a schedule is a number or a list of [epoch, value], not "
    for bad in ([], [0.1, 0.2], [[0, 1, 2]], [[0, "1"]], [[-1, 1]]):
        assert line.complaint(bad) == what + repr(bad)
    falling = [[3, 1], [2, 5]]
    assert line.complaint(falling) == (
        f"must be float or schedule: the epochs of a schedule must rise, and do not in {falling}"
    )


def test_a_schedule_of_whole_numbers_may_be_nothing():
    line = prop("int or schedule or None", None, "[1, inf)")
    for good in (None, 1, 128, [[0, 1], [10, 64]], [[0, 1.5]]):
        assert line.complaint(good) is None
    assert line.complaint(0) == "must be in [1, inf), not 0"
    assert line.complaint(1.5) == "must be int or schedule or None, not 1.5"
    assert line.complaint([[0, 0], [3, 5]]) == "must be in [1, inf) in every epoch, not [[0, 0], [3, 5]]"
    assert prop("int or schedule", 4, "[1, inf)").complaint(None) == "must be int or schedule, not None"


def test_a_schedule_without_a_range_may_hold_any_numbers():
    line = prop("float or schedule")
    assert line.complaint([[0, -5], [2, 1e9]]) is None
    assert line.complaint([[0, 1], [0, 2]]) is not None


def test_points_are_no_schedule_where_the_type_names_none():
    assert prop("float").complaint([[0, 1]]) == "must be float, not [[0, 1]]"


def test_the_range_of_a_list_is_that_of_its_elements():
    numbers = prop("list", [1, 1], "[0, 1)")
    for good in ([0], [0.5, 0.25, 0], (0.5,)):
        assert numbers.complaint(good) is None
    for bad in ([1], [0.5, -1], ["0"], [None], [True], [[0]]):
        assert numbers.complaint(bad) == f"must be a list whose elements are in [0, 1), not {bad!r}"
    assert numbers.complaint([]) == "must be in [0, 1), not []"
    assert numbers.complaint(0.5) == "must be list, not 0.5"
    words = prop("list", ["a"], "['a', 'b']")
    assert words.complaint(["b", "a", "b"]) is None
    assert words.complaint(["a", "c"]) == "must be a list whose elements are one of a, b, not ['a', 'c']"
    assert words.complaint([]) == "must be one of a, b, not []"
    assert prop("list", [1]).complaint([]) is None


# ----- what the comments of a file say


def test_comments(tmp_path):
    file = tmp_path / "Model.yaml"
    file.write_text(
        "# A title\n"
        "plain: 1                 # (int) Number of things. Range in [1, inf).\n"
        "small: 1e-3              # (float or None) A small one.\n"
        "choice: 'CE'             # (str) Which one. Range in ['CE', 'BPR'].\n"
        "dotless: 0.5             # (float) No dot at the end. Range in (0, 1)\n"
        "long: [1, 2]             # (list) A meaning that goes on\n"
        "                         # over two lines. Range in [[1, 2], [3]].\n"
        "nested:                  # (dict) Has keys of its own.\n"
        "  inner: 5               # (int) Not a property. Range in [0, 1].\n"
        "untyped: 3               # just words\n"
        "bare: text\n"
        "\n"
        "nothing: ~               # (int or None) Nothing yet. Range in [1, inf).\n",
        encoding="utf-8",
    )
    found = read_properties(file)
    assert list(found) == ["plain", "small", "choice", "dotless", "long", "nested", "untyped", "bare", "nothing"]
    assert all(found[key].key == key for key in found)
    assert [(p.default, p.type, p.meaning) for p in found.values()] == [
        (1, "int", "Number of things."),
        (0.001, "float or None", "A small one."),
        ("CE", "str", "Which one."),
        (0.5, "float", "No dot at the end."),
        ([1, 2], "list", "A meaning that goes on over two lines."),
        ({"inner": 5}, "dict", "Has keys of its own."),
        (3, "", ""),
        ("text", "", ""),
        (None, "int or None", "Nothing yet."),
    ]
    ranges = {key: p.allowed.text for key, p in found.items() if p.allowed}
    assert ranges == {
        "plain": "[1, inf)",
        "choice": "['CE', 'BPR']",
        "dotless": "(0, 1)",
        "long": "[[1, 2], [3]]",
        "nothing": "[1, inf)",
    }


def test_an_empty_file_has_no_properties(tmp_path):
    (tmp_path / "Empty.yaml").write_text("# nothing here\n", encoding="utf-8")
    assert read_properties(tmp_path / "Empty.yaml") == {}


# ----- the plugin's own files


def own_lines():
    return [pytest.param(p, id=f"{f.stem}-{p.key}") for f in MODEL_FILES for p in read_properties(f).values()]


def test_there_are_property_files():
    assert "CLIA" in [f.stem for f in MODEL_FILES]


@pytest.mark.parametrize("line", own_lines())
def test_every_key_is_documented_and_its_default_is_allowed(line):
    assert line.type, "no (type)"
    assert line.meaning, "no meaning"
    assert line.meaning.endswith("."), "the meaning is no sentence"
    assert line.complaint(line.default) is None
    if line.default is None:
        assert "None" in line.type


@pytest.mark.parametrize("file", MODEL_FILES, ids=lambda f: f.stem)
def test_every_range_in_a_comment_is_understood(file):
    lines = read_properties(file)
    for key in re.findall(r"^(\w+):.*Range in", file.read_text(encoding="utf-8"), re.MULTILINE):
        assert lines[key].allowed is not None, key


@pytest.mark.parametrize("file", MODEL_FILES, ids=lambda f: f.stem)
def test_no_key_is_given_twice(file):
    keys = re.findall(r"^(\w+):", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("line", read_properties(PROPERTIES_DIR / "model/CLIA.yaml").values(), ids=lambda p: p.key)
def test_every_key_of_clia_is_read_by_code(line):
    """By its name in quotes, or by a part of it before what ``f"{name}_part"`` adds."""
    readers = [p for p in SOURCE.rglob("*.py") if "settings" not in p.relative_to(SOURCE).parts]
    code = "\n".join(p.read_text(encoding="utf-8") for p in readers)

    def quoted(word):
        return re.search(rf"""["']{re.escape(word)}["']""", code) is not None

    endings = re.findall(r"""config\[f["']\{\w+\}(\w+)["']\]""", code)
    made = [line.key.removesuffix(ending) for ending in endings if line.key.endswith(ending)]
    assert quoted(line.key) or any(map(quoted, made)) or line.key in framework_keys()
