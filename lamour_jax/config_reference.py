"""The configuration reference: `python -m lamour_jax.config_reference > docs/configuration.md`."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import envs
from lamour_jax.config import RunConfig, Stage, settings
from lamour_jax.robot_settings import preset

_HEAD = """\
# Configuration

Generated from the source by `python -m lamour_jax.config_reference > docs/configuration.md`.

These are all settings of a run, as they stand in the run's `config.yaml`. `--set name=value`
changes one; repeat it for more. Lists and mappings are written as in YAML:

```bash
python -m lamour_jax.train --set ppo.learning_rate=1e-4 --set 'training_starts={ood: 1.0}'
```

A wrong name or value is an error of one line. A robot's own numbers stand in its `settings.yaml`
and replace the defaults below; they are listed at the end.
"""


def reference() -> str:
    """Returns the page."""
    parts = [_HEAD, *_group(RunConfig, "")]
    parts.append("## Robots\n\nWhat they change. [decisions.md](decisions.md) says why.\n")
    for stage in typing.get_args(Stage):
        for env in envs.names():
            parts.append(f"### {env}, {stage}\n")
            parts.append(_table(("setting", "value"), _changes(preset(env, stage))))
    return "\n".join(parts)


def _group(cls: Any, prefix: str) -> Iterator[str]:
    """Yields a section for a group of settings, then one for each group in it."""
    title = f"`{prefix.rstrip('.')}`" if prefix else "Settings"
    yield f"## {title}\n\n{inspect.cleandoc(cls.__doc__)}\n"
    default, rows, groups = cls(), [], []
    for name, field in cls.__pydantic_fields__.items():
        if dataclasses.is_dataclass(field.annotation):
            groups.append((field.annotation, f"{prefix}{name}."))
            continue
        unit = (field.json_schema_extra or {})["unit"]
        value = _value(getattr(default, name))
        rows.append((f"`{prefix}{name}`", _type(field), unit, value, field.description))
    yield _table(("setting", "type", "unit", "default", "meaning"), rows)
    for group in groups:
        yield from _group(*group)


def _changes(config: RunConfig) -> list[tuple[str, str]]:
    """Returns the settings in which a robot differs from the defaults."""
    default = RunConfig()
    return [
        (f"`{name}`", _value(_get(config, name)))
        for name in settings()
        if _get(config, name) != _get(default, name) and name not in ("env", "stage")
    ]


def _get(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _type(field: Any) -> str:
    """Returns a setting's type and bounds in words."""
    hint = field.annotation
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f"`{name}`" for name in typing.get_args(hint))
    return ", ".join([_WORDS.get(hint) or _several(hint), *_bounds(field.metadata)])


def _several(hint: Any) -> str:
    kind, *rest = typing.get_args(hint)
    if typing.get_origin(hint) is dict:
        return "mapping of names to shares"
    inner, bounds = kind, []
    if typing.get_origin(kind) is typing.Annotated:
        inner, *extra = typing.get_args(kind)
        bounds = _bounds(extra[0].metadata)
    if typing.get_origin(inner) is typing.Literal:
        return f"list of {' and '.join(f'`{name}`' for name in typing.get_args(inner))}"
    count = "list of" if rest == [...] else f"{1 + len(rest)}"
    return " ".join([count, f"{_WORDS[inner]}s", *bounds])


def _bounds(metadata: Any) -> list[str]:
    words = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
    return [
        f"{word} {getattr(entry, name):g}"
        for entry in metadata
        for name, word in words
        if hasattr(entry, name)
    ]


_WORDS = {int: "integer", float: "number", bool: "true or false", str: "text"}


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
