"""The wording of all that a model is told: the Markdown files of this folder, filled in."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def prompt(name: str, **values: object) -> str:
    """Returns the template `<name>.md`, filled in.

    Raises:
        KeyError: a value that the template asks for is not given.
    """
    # One pass: what is filled in is not searched for placeholders.
    return _PLACEHOLDER.sub(lambda match: str(values[match.group(1)]), _template(name))


@cache
def _template(name: str) -> str:
    file = resources.files(__name__) / f"{name}.md"
    return file.read_text(encoding="utf-8").strip("\n")
