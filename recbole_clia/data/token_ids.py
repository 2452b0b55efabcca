"""Ids of tokens, for whoever asks: a dict of all of them is slow to make and seldom needed."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


class TokenIds(dict[str, int]):
    """Id of each token, made when it is first asked for."""

    def __init__(self, id_token: NDArray[Any]) -> None:
        super().__init__()
        self._id_token = id_token

    def _fill(self) -> None:
        if len(self._id_token):
            tokens, self._id_token = self._id_token, self._id_token[:0]
            self.update({token: number for number, token in enumerate(tokens.tolist())})


def _lazily(name: str) -> Any:
    plain = getattr(dict, name)

    def method(self: TokenIds, *args: Any) -> Any:
        self._fill()
        return plain(self, *args)

    return method


for _name in (
    "__getitem__",
    "__contains__",
    "__iter__",
    "__len__",
    "get",
    "keys",
    "values",
    "items",
    "__eq__",
    "__ne__",
):
    setattr(TokenIds, _name, _lazily(_name))
