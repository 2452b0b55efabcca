"""What ends a run before its time: bad input, or the user."""


class UsageError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what is allowed.

    The command line prints it without a traceback and exits with code 2.
    """


class Diverged(UsageError):
    """Training has a loss that is no number any more."""


class Stopped(KeyboardInterrupt):
    """The user stopped a run; ``resume_file`` continues it, if an epoch was finished."""

    def __init__(self, resume_file: str | None) -> None:
        super().__init__()
        self.resume_file = resume_file


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
