"""The ``recbole-clia`` command."""

from __future__ import annotations

import argparse
import errno
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Returns:
        The exit code: 0, 1 if the command found a fault, 2 for bad input, 130 if the user stopped it.
    """
    arguments, rest = make_parser().parse_known_args(argv)
    if rest and not getattr(arguments, "takes_settings", False):
        return _fail(f"{arguments.command}: unknown argument {rest[0]}")
    arguments.settings = rest
    try:
        code: int = arguments.run(arguments)
        return code
    except UsageError as error:
        return _fail(str(error))
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        # A folder that is a file, or that must not be written to; a full disk.
        return _fail(f"{error.filename or 'this disk'} cannot be used: {error.strerror}")
    except KeyboardInterrupt as stop:
        last = getattr(stop, "resume_file", None)
        print(f"\nstopped; continue with --resume {shlex.quote(last)}" if last else "\nstopped", file=sys.stderr)
        return 130


def make_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands; it parses once."""
    from . import bench, compare, convert, data, diagnose, doctor, synth, train, tune

    parser = _Parser(prog="recbole-clia", description="Long- and short-term interests for RecBole.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    for module in (train, tune, compare, convert, synth, data, diagnose, doctor, bench):
        module.add_parser(commands)
    return parser


def run_train(argv: Sequence[str]) -> int:
    """The command that ``run_recbole_clia.py`` is: ``recbole-clia train`` with its arguments."""
    return main(["train", *argv])


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, without the usage text before it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})
        for name in (None, "store"):  # None is what an argument without an action has
            self.register("action", name, _StoreOnce)

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(_fail(message))


class _StoreOnce(argparse.Action):
    """Stores a value, and refuses a second one that differs; argparse takes the last."""

    given: Any = None

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if self.option_strings and self.given not in (None, values):
            one, other = (" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in (self.given, values))
            parser.error(f"{self.option_strings[0]} is given twice, as {one!r} and as {other!r}")
        self.given = values
        setattr(namespace, self.dest, values)


def _fail(message: str) -> int:
    print(f"recbole-clia: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
