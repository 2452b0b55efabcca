"""Laws of ``--key=value`` words."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_clia.cli.train import parse_settings
from recbole_clia.errors import UsageError

laws = settings(derandomize=True, deadline=None)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True)
some_settings = st.dictionaries(keys, st.text(), max_size=6)


@laws
@given(some_settings)
def test_words_written_from_settings_give_them_back(wanted):
    assert parse_settings([f"--{key}={value}" for key, value in wanted.items()]) == wanted


@laws
@given(some_settings)
def test_the_same_word_twice_is_the_same_as_once(wanted):
    words = [f"--{key}={value}" for key, value in wanted.items()]
    assert parse_settings(words * 2) == wanted


@laws
@given(keys, st.text(), st.text())
def test_a_key_with_two_values_is_refused(key, one, other):
    words = [f"--{key}={one}", "--epochs_between=3", f"--{key}={other}"]
    if one == other:
        assert parse_settings(words)[key] == one
        return
    with pytest.raises(UsageError) as refusal:
        parse_settings(words)
    assert str(refusal.value) == f"--{key} is given twice, as {one!r} and as {other!r}"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--key=", ""),
        ("--key=a=b", "a=b"),
        ("--key==", "="),
        ("--key=--other=1", "--other=1"),
        ("--key= spaced ", " spaced "),
        ("--key=[5,10]", "[5,10]"),
        ("--key={'LS': 'valid_and_test'}", "{'LS': 'valid_and_test'}"),
        ("--key=1e-3", "1e-3"),
        ("--key='q'", "'q'"),
    ],
)
def test_a_value_is_taken_as_it_is(word, value):
    assert parse_settings([word]) == {"key": value}


@pytest.mark.parametrize(
    "word",
    [
        "",
        "-",
        "--",
        "--=1",
        "--key",
        "--key value",
        "key=1",
        "-key=1",
        "---key=1",
        "--a.b=1",
        "--a-b=1",
        "--1a=1",
        "-- key=1",
        "--key =1",
        "value",
        "=",
    ],
)
def test_another_form_is_refused(word):
    message = f"argument {word!r} must have the form --key=value"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        parse_settings([word])
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        parse_settings(["--epochs=3", word])


def test_a_flag_and_its_value_apart_are_refused():
    with pytest.raises(UsageError, match="--epochs"):
        parse_settings(["--epochs", "3"])


def test_no_words_are_no_settings():
    assert parse_settings([]) == {}
