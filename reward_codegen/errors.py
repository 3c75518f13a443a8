"""What is said when a reply is refused: one or two plain sentences, fit to be sent back."""

_SHOWN = 80  # longest piece of a reply that a message quotes


class RewardCodeError(Exception):
    """A reply cannot be used as reward code.

    The message names the line and the offending text and says what would be right, so that it
    can be sent back to the model as it is. `line` is the line in the extracted source, where
    there is one.
    """

    def __init__(self, message: str, *, line: int | None = None, text: str | None = None) -> None:
        self.line = line
        self.text = None if text is None else shorten(text)
        place = "" if line is None else f"Line {line}: "
        quote = "" if self.text is None else f"`{self.text}`: "
        super().__init__(place + quote + message)


class ExtractionError(RewardCodeError):
    """No usable Python source was found in the reply."""


class SyntaxNotAdmitted(RewardCodeError):
    """The source is not Python, or uses a part of Python that has no pure meaning here."""


class NameNotAdmitted(RewardCodeError):
    """A name, module, function, method or keyword that is unknown or not admitted."""


class ShapeError(RewardCodeError):
    """A value of the wrong shape or kind: an index out of range, a result that is no number."""


class BudgetExceeded(RewardCodeError):
    """The program is too long, too deep, or would compute too much."""


class VerificationError(RewardCodeError):
    """The program compiles but cannot serve: never finite, always raising, a loop without end."""


def shorten(text: str, limit: int = _SHOWN) -> str:
    """`text` on one line, printable, at most `limit` characters."""
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."
