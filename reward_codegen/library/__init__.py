"""Known-good reward programs, one text file an environment, used when no model is asked.

The files are written as a language model writes them and go the same way as a reply: they are
read as text and compiled, never imported.
"""

from importlib import resources

_SUFFIX = ".py"


def names() -> tuple[str, ...]:
    """The environments that a program exists for, in alphabetical order."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(
        sorted(
            name.removesuffix(_SUFFIX)
            for name in files
            if name.endswith(_SUFFIX) and not name.startswith("_")
        )
    )


def source(name: str) -> str:
    """The Python source of the program for the environment `name`.

    Raises:
        KeyError: no program of that name exists; the message lists the known ones.
    """
    if name not in names():
        raise KeyError(f"no library reward program {name!r}; known: {', '.join(names())}")
    return resources.files(__name__).joinpath(name + _SUFFIX).read_text(encoding="utf-8")
