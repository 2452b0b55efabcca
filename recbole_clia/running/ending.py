"""How a command that has processes of its own ends with them, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_TIME_TO_END = 30.0  # seconds, for a process that has something to put in order
# The request to end, and the end of the terminal, where there is such a thing.
_REQUESTS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Asked(KeyboardInterrupt):
    """This process alone is asked to end; the keyboard interrupts its children too."""


@contextlib.contextmanager
def ends_with_an_interrupt() -> Iterator[None]:
    """A request to end is an interrupt, so that no process is left behind; what nohup ignores stays ignored."""

    def interrupt(number: int, frame: Any) -> None:
        raise Asked

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():  # no other may set a handler
            for number in _REQUESTS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    stack.callback(signal.signal, number, signal.signal(number, interrupt))
        yield


def end_with(gone: Callable[[], object]) -> None:
    """Ask this process to end when ``gone`` returns: the one that it works for has died, and nobody wants its work.

    A parent that is killed outright, for instance for want of memory, cannot end its children itself.
    """

    def wait() -> None:
        gone()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_TIME_TO_END)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end with the parent").start()
