"""The configuration reference: `python -m lamour_jax.config_reference > docs/configuration.md`."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

from lamour_jax.config import RunConfig
from lamour_jax.presets import names, preset

_HEAD = """\
# Configuration

Generated from the source by `python -m lamour_jax.config_reference > docs/configuration.md`.

Every setting of a run, as it stands in the run's `config.yaml`. Each can be changed by
`--set name=value`, repeated for more; lists and mappings are written as in YAML:

```bash
python -m lamour_jax.train --set ppo.learning_rate=1e-4 --set 'training_starts={ood: 1.0}'
```

A name or a value that does not fit is an error that lists what does. The defaults below hold where
the preset of the robot says nothing else; what presets say is at the end.
"""


def reference() -> str:
    """Returns the page."""
    parts = [_HEAD, *_group(RunConfig(), "")]
    parts.append("## Presets\n\nWhat they change; why is told in [decisions.md](decisions.md).\n")
    for stage in typing.get_args(typing.get_type_hints(RunConfig)["stage"]):
        for env in names():
            parts.append(f"### {env}, {stage}\n")
            parts.append(_table(("setting", "value"), _changes(preset(env, stage))))
    return "\n".join(parts)


def meanings(cls: type) -> dict[str, str]:
    """Returns what a dataclass's docstring says of each attribute.

    >>> meanings(RunConfig)["seed"]
    'of everything random.'
    """
    _, _, section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _group(config: Any, prefix: str) -> Iterator[str]:
    """Yields a section for the settings of a dataclass, then one for each group in it."""
    cls = type(config)
    title = f"`{prefix.rstrip('.')}`" if prefix else "Settings"
    yield f"## {title}\n\n{inspect.cleandoc(cls.__doc__ or '').splitlines()[0]}\n"
    told, types = meanings(cls), typing.get_type_hints(cls)
    rows, groups = [], []
    for field in dataclasses.fields(cls):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            groups.append((value, f"{name}."))
            continue
        row = (f"`{name}`", f"`{_type(types[field.name])}`", _value(value), told[field.name])
        rows.append(row)
    yield _table(("setting", "type", "default", "meaning"), rows)
    for value, name in groups:
        yield from _group(value, name)


def _changes(config: RunConfig) -> list[tuple[str, str]]:
    """Returns the settings in which a preset differs from the defaults."""
    default = dict(_flat(RunConfig(), ""))
    return [
        (f"`{name}`", _value(value))
        for name, value in _flat(config, "")
        if value != default[name] and name not in ("env", "stage")
    ]


def _flat(config: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _flat(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(typing.get_args(hint))
    return str(getattr(hint, "__name__", hint) if not typing.get_args(hint) else hint)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"`{{{', '.join(f'{name}: {share}' for name, share in value.items())}}}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"`{value:_}`"
    return f"`{value}`" if value != "" else "`''`"


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
