"""The one error that is the user's to mend."""


class UsageError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what is allowed.

    The command line prints it without a traceback and exits with code 2.
    """
