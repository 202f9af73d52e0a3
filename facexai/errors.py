"""The one error type for input that cannot be used."""

LONGEST = 900  # characters of a message


class InputError(ValueError):
    """What the caller gave cannot be used.

    The message is one line: the rule, what came, and the way out. The command line prints it and exits with status 2.
    What came may be anything: signs that would not print become escapes, and the middle of a long message is cut.
    """

    def __init__(self, message: str) -> None:
        printable = "".join(map(_printable, message))
        super().__init__(printable if len(printable) <= LONGEST else f"{printable[:500]} ... {printable[-300:]}")


def _printable(sign: str) -> str:
    return sign if sign.isprintable() else " " if sign.isspace() else repr(sign)[1:-1]
