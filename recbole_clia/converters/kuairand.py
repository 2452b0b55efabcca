"""KuaiRand, of Kuaishou, in its three sizes: https://kuairand.com.

The random logs, of videos that were shown by chance, are taken in if they are given; ``is_rand`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as compute

from .convert import Converter, Files, Part
from .raw import ANY_TEXT, TEXT, WHOLE

INTER = {
    "user_id": "token",
    "item_id": "token",
    "is_click": "float",
    "long_view": "float",
    "is_rand": "float",
    "timestamp": "float",
}
ITEM = {"item_id": "token", "category": "token_seq", "author": "token"}
COLUMNS = {
    "user_id": TEXT,
    "video_id": TEXT,
    "is_click": WHOLE,
    "long_view": WHOLE,
    "is_rand": WHOLE,
    "time_ms": WHOLE,
}


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in [*files["standard"], *files["random"]]:
        for table in file.tables(COLUMNS, quoted=False):
            yield table.rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["videos"]:
        for table in file.tables({"video_id": TEXT, "tag": ANY_TEXT, "author_id": ANY_TEXT}):
            tags = compute.replace_substring_regex(table.column("tag"), pattern=", ?", replacement=" ")
            yield table.set_column(1, "tag", tags).rename_columns(list(ITEM))


def _converter(size: str) -> Converter:
    part = r"(_part\d+)?\.csv(\.gz)?"
    return Converter(
        f"kuairand-{size}",
        {
            "standard": Part(
                rf"log_standard_.*_{size}{part}",
                f"log_standard_4_08_to_4_21_{size}.csv and log_standard_4_22_to_5_08_{size}.csv"
                + (" (in parts)" if size == "27k" else ""),
                many=True,
            ),
            "random": Part(rf"log_random_.*_{size}{part}", f"log_random_4_22_to_5_08_{size}.csv", required=False),
            "videos": Part(
                rf"video_features_basic_{size}\.csv(\.gz)?", f"video_features_basic_{size}.csv", required=False
            ),
        },
        INTER,
        _inter,
        ITEM,
        _item,
    )


CONVERTERS = tuple(_converter(size) for size in ("pure", "27k", "1k"))
