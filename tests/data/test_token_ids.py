"""Ids of tokens are a dict like any other, whatever is asked of it first."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np

from recbole_clia.data.token_ids import TokenIds


def test_token_ids_are_a_dict_that_is_made_late() -> None:
    words = np.array(["[PAD]", "a", "b"])
    want = {"[PAD]": 0, "a": 1, "b": 2}
    uses: list[Any] = [
        lambda ids: ids["b"] == 2 and ids.get("c", 9) == 9,
        lambda ids: "a" in ids and "c" not in ids,
        lambda ids: list(ids) == list(want) and len(ids) == 3,
        lambda ids: ids == want and want == ids,
        lambda ids: (ids != want) is False and ids != {},
        lambda ids: dict(ids) == want and {**ids} == want,
        lambda ids: list(ids.items()) == list(want.items()) and list(ids.values()) == [0, 1, 2],
        lambda ids: pickle.loads(pickle.dumps(ids)) == want,
        lambda ids: copy.deepcopy(ids) == want,
    ]
    assert all(use(TokenIds(words)) for use in uses)
