"""How one setting is declared: its default, sentence, unit and bounds, all in one place."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

# Of every group of settings: `@dataclass(frozen=True, config=CHECKED)` of `pydantic.dataclasses`.
CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)


def setting(default: Any, sentence: str, unit: str = "", **bounds: Any) -> Any:
    """Declares a setting.

    Args:
        default: its value where nothing else is said.
        sentence: what it does, for the reference page and the help texts.
        unit: of its value, as `s`.
        **bounds: `ge`, `gt`, `le`, `lt`, `min_length` as for `pydantic.Field`.
    """
    how = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**how, description=sentence, json_schema_extra={"unit": unit}, **bounds)
