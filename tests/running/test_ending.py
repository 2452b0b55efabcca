"""No process is left behind: not by a request to end, not by the end of the terminal, not by a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import random_rows, write_log

from recbole_clia.running.ending import ends_with_an_interrupt

SECONDS = 60.0

PIPE = """
import subprocess, sys, time
if len(sys.argv) > 1:
    import os
    from recbole_clia.running.ending import end_with
    end_with(lambda: os.read(sys.stdin.fileno(), 1))
    print("ready", flush=True)
    time.sleep(600)
child = subprocess.Popen([sys.executable, __file__, "child"], stdin=subprocess.PIPE)
time.sleep(600)
"""

SPAWN = """
import multiprocessing, time

def work():
    from recbole_clia.running.ending import end_with
    end_with(multiprocessing.parent_process().join)
    print("ready", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
    time.sleep(600)
"""


def until(holds: Callable[[], Any]) -> Any:
    """What ``holds`` returns, once it is true; fails if that takes too long."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail("it took too long")


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("script", [PIPE, SPAWN], ids=["pipe", "spawn"])
def test_a_process_ends_with_the_one_it_works_for(script: str, tmp_path: Path) -> None:
    file = tmp_path / "parent.py"
    file.write_text(script)
    parent = subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        assert all(alive(child) for child in children)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not any(alive(child) for child in children))


def test_a_killed_comparison_leaves_no_run_behind(workplace: Path) -> None:
    folder = write_log(workplace / "data", random_rows(0))
    words = ["--models", "CLIA", "--datasets", "made", "--seeds", "1", f"--data_path={folder}", "--use_gpu=False"]
    words += ["--epochs=100000", "--stopping_step=100000", "--user_inter_num_interval=[4,inf)"]
    command = subprocess.Popen(
        [sys.executable, "-m", "recbole_clia", "compare", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        (worker,) = until(lambda: psutil.Process(command.pid).children())
        until(lambda: list(workplace.glob("compare/runs/*/work-*/log/**/*.log")))  # it trains
        assert alive(worker)
    finally:
        command.kill()
        command.wait()
    until(lambda: not alive(worker))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_request_to_end_is_an_interrupt(name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # the tests may themselves be under nohup
    try:
        with pytest.raises(KeyboardInterrupt), ends_with_an_interrupt():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_what_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """``nohup`` has a command go on when the terminal ends."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_with_an_interrupt():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_may_ask_too() -> None:
    entered = []

    def enter() -> None:
        with ends_with_an_interrupt():
            entered.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [True]
