"""The script that makes the environment and runs a command in it: what it refuses, and how it is interrupted."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_clia

ROOT = Path(recbole_clia.__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="it is for Python 3.11 alone")

# Says that it is ready, is slow to end, and says how it ended.
COMMAND = """#!/bin/sh
trap 'sleep 1; echo ended in its own way; exit 130' INT
echo ready
while true; do sleep 0.1; done
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy that has its environment, with one command in it."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt", "setup_env.py"):
        shutil.copy(ROOT / name, tmp_path)
        digest.update((ROOT / name).read_bytes())
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    (tmp_path / ".venv" / "made-from").write_text(digest.hexdigest())
    (commands / "slow").write_text(COMMAND)
    (commands / "slow").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tarin"], "there is no command 'tarin' in"),
        (["--constraints"], "--constraints needs a FILE and a command"),
        (["--constraints", "constraints.txt", "--help-me"], "no option --help-me"),
        (["--constraints", "nowhere.txt", "test"], "there is no file"),
        (["-v"], "no option -v"),
    ],
)
def test_bad_words_get_one_sentence_and_code_2(checkout: Path, words: list[str], sentence: str) -> None:
    done = subprocess.run([sys.executable, checkout / "setup_env.py", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_interrupt_is_the_commands(checkout: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, checkout / "setup_env.py", "slow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    told, faults = process.communicate(timeout=30)
    assert (process.returncode, told, faults) == (130, "ended in its own way\n", "")
