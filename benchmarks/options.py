"""What the benchmarks' command lines have in common: lists of names and of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from lamour_jax.errors import UserError


def chosen(option: str, given: str, known: Iterable[str], *, and_all: bool = True) -> list[str]:
    """Returns the known names in `a,b`; for `all`, if it is known too, all of them.

    Raises:
        UserError: an unknown name; the known ones are listed.
    """
    known = list(known)
    if and_all and given == "all":
        return known
    names = [name.strip() for name in given.split(",")]
    for name in names:
        if name not in known:
            listed = ", ".join(["all", *known] if and_all else known)
            raise UserError(f"unknown {option} {name!r}; known: {listed}")
    return list(dict.fromkeys(names))


def sizes(option: str, given: str) -> list[int]:
    """Returns the numbers in `256,1024`.

    Raises:
        UserError: something else, or a number below 1.
    """
    try:
        numbers = [int(part) for part in given.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise UserError(f"{option} must be numbers of at least 1 as in 256,1024, not {given!r}")
    return list(dict.fromkeys(numbers))


def at_least_one(arguments: object, *names: str) -> None:
    """Checks that attributes of the arguments are positive.

    Raises:
        UserError: one is not.
    """
    for name in names:
        value = getattr(arguments, name)
        if value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
