"""What a spawned process runs."""

from __future__ import annotations

from typing import Any


def run_recboles(rank: int, *args: Any) -> None:
    """RecBole's worker, under a name of the plugin's.

    A spawned process unpickles this function by its name, and thereby imports the plugin before
    it imports RecBole's entry points.
    """
    import gc

    from recbole.quick_start.quick_start import run_recbole

    kwargs = dict(args[-1])
    kwargs["config_dict"] = {**(kwargs.get("config_dict") or {}), "local_rank": rank}
    run_recbole(*args[:3], **kwargs)
    gc.collect()  # what is left of the distributed model must not wait for the end of the interpreter
