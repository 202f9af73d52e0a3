"""The one error type for input that cannot be used."""


class InputError(ValueError):
    """What the caller gave cannot be used.

    The message is one line: the rule, what came, and the way out. The command line prints it and exits with status 2.
    """
