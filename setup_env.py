"""Make the environment in .venv, once, and run a command in it.

    python3 setup_env.py train [--key=value ...]    the main job
    python3 setup_env.py test                       the tests
    python3 setup_env.py COMMAND [...]              any other command of the environment

It needs Python alone. The environment is made again when what it is made from has changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
SOURCES = ("setup.cfg", "pyproject.toml", "constraints.txt", "setup_env.py")


def make_environment() -> None:
    """Create .venv with the tested versions, unless it already holds them."""
    digest = hashlib.sha256(sys.version.encode())
    for name in SOURCES:
        digest.update((ROOT / name).read_bytes())
    stamp = ENVIRONMENT / "made-from"
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return
    print(f"Making the environment in {ENVIRONMENT} ...", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    pip = [str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-c", "constraints.txt"]
    subprocess.run([*pip, "torch"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--editable", ".[test]"], cwd=ROOT, check=True)
    stamp.write_text(digest.hexdigest())


def main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else 2
    if not (3, 10) <= sys.version_info[:2] < (3, 12):
        print("setup_env.py: needs Python 3.10 or 3.11; for newer ones see README, 'Newer Pythons'", file=sys.stderr)
        return 2
    try:
        make_environment()
    except subprocess.CalledProcessError as error:
        print(f"setup_env.py: {' '.join(error.cmd)} failed with exit code {error.returncode}", file=sys.stderr)
        return 1
    python = str(BIN / "python")
    command = {
        "train": [python, "run_recbole_clia.py"],
        "test": [python, "-m", "pytest"],
    }.get(words[0], [str(BIN / words[0])])
    return subprocess.run([*command, *words[1:]], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
