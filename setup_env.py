"""Make the environment, once, and run a command in it.

    python3 setup_env.py train [--key=value ...]    the main job
    python3 setup_env.py test [...]                 the tests
    python3 setup_env.py COMMAND [...]              any other command of the environment

It needs Python 3.11 alone. The environment lies in .venv, and is made again when what it is made
from has changed. With --constraints FILE before the command it has the versions of that file, and lies
in .venv-FILE.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TESTED = "constraints.txt"
PYTHON = (3, 11)


def make_environment(constraints: str) -> Path:
    """Create the environment with the versions of ``constraints``, unless it already has them.

    Returns:
        The folder of its commands.
    """
    environment = ROOT / (".venv" if constraints == TESTED else f".venv-{Path(constraints).stem}")
    commands = environment / ("Scripts" if os.name == "nt" else "bin")
    digest = hashlib.sha256(sys.version.encode())
    for name in ("setup.cfg", "pyproject.toml", constraints, "setup_env.py"):
        digest.update((ROOT / name).read_bytes())
    stamp = environment / "made-from"
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return commands
    print(f"Making the environment in {environment}, a few minutes ...", flush=True)
    shutil.rmtree(environment, ignore_errors=True)
    venv.create(environment, with_pip=True)
    pip = [str(commands / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", constraints]
    subprocess.run([*pip, "torch"], cwd=ROOT, check=True)  # first, by itself: see constraints.txt
    subprocess.run([*pip, "setuptools"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--editable", ".[test]"], cwd=ROOT, check=True)
    stamp.write_text(digest.hexdigest())
    return commands


def main(words: list[str]) -> int:
    constraints = TESTED
    if words[:1] == ["--constraints"] and len(words) > 1:
        constraints, words = words[1], words[2:]
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else 2
    if words[0].startswith("-"):
        what = "--constraints needs a FILE and a command" if words[0] == "--constraints" else f"no option {words[0]}"
        print(f"setup_env.py: {what}; see --help", file=sys.stderr)
        return 2
    if sys.version_info[:2] != PYTHON:
        print(
            f"setup_env.py: the tested versions are for Python 3.11, and this is {sys.version.split()[0]}; "
            "for another Python see README, 'Install'",
            file=sys.stderr,
        )
        return 2
    if not (ROOT / constraints).is_file():
        print(f"setup_env.py: there is no file {ROOT / constraints}", file=sys.stderr)
        return 2
    try:
        commands = make_environment(constraints)
    except subprocess.CalledProcessError as error:
        print(f"setup_env.py: '{' '.join(error.cmd)}' failed with exit code {error.returncode}", file=sys.stderr)
        return 1
    python = str(commands / "python")
    command = {
        "train": [python, str(ROOT / "run_recbole_clia.py")],
        "test": [python, "-m", "pytest"],
    }.get(words[0], [str(commands / words[0])])
    if shutil.which(command[0]) is None:
        print(
            f"setup_env.py: there is no command {words[0]!r} in {commands}; it is train, test, or one that lies there, "
            "such as recbole-clia",
            file=sys.stderr,
        )
        return 2
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)  # the command gets it too, and ends in its own way
    return subprocess.Popen([*command, *words[1:]], cwd=None if words[0] == "train" else ROOT).wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
