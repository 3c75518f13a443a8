"""What a robot that is alike on both sides sees and does in a mirror."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Reflection:
    """A vector's counterpart in the mirror: `sign * vector[index] + offset`.

    Applied twice it gives the vector back.

    Attributes:
        index: where each entry's counterpart on the other side stands.
        sign: 1, or -1 of what points or turns sideways.
        offset: of angles whose middle is not 0.

    Raises:
        ValueError: they are not as many, or `index` does not name every entry once.
    """

    index: tuple[int, ...]
    sign: tuple[float, ...]
    offset: tuple[float, ...]

    def __post_init__(self) -> None:
        alike = len(self.index) == len(self.sign) == len(self.offset)
        if not alike or sorted(self.index) != list(range(len(self.index))):
            raise ValueError("a reflection's index has to name every entry once, with its sign")

    @classmethod
    def by_name(
        cls,
        names: Sequence[str],
        sideways: Collection[str],
        middles: Mapping[str, float] | None = None,
    ) -> Reflection:
        """Makes the reflection of a vector whose entries have names.

        Args:
            names: of all entries; those of a side begin with `left_` or `right_`.
            sideways: the names, without the side, of those that change their sign.
            middles: of such entries, by name without the side: what they change their sign around.
        """
        plain = [name.removeprefix("left_").removeprefix("right_") for name in names]
        return cls(
            index=tuple(names.index(_on_other_side(name)) for name in names),
            sign=tuple(-1.0 if name in sideways else 1.0 for name in plain),
            offset=tuple(2.0 * (middles or {}).get(name, 0.0) for name in plain),
        )

    def __call__(self, vector: jax.Array) -> jax.Array:
        """Reflects vectors `(..., n)`."""
        return self.difference(vector) + jnp.asarray(self.offset, vector.dtype)

    def difference(self, vector: jax.Array) -> jax.Array:
        """Reflects differences of two such vectors, `(..., n)`."""
        return jnp.asarray(self.sign, vector.dtype) * vector[..., jnp.array(self.index)]


def _on_other_side(name: str) -> str:
    for side, other in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(side):
            return other + name.removeprefix(side)
    return name


@dataclass(frozen=True)
class Mirror:
    """Reflections of a robot's observations and actions at its middle plane."""

    observation: Reflection
    action: Reflection

    @classmethod
    def from_json(cls, fields: Mapping[str, Mapping[str, Sequence[float]]]) -> Mirror:
        """Returns the mirror that `dataclasses.asdict` and JSON have made `fields` of."""

        def reflection(of: str) -> Reflection:
            index, sign, offset = (fields[of][name] for name in ("index", "sign", "offset"))
            return Reflection(
                tuple(map(int, index)), tuple(map(float, sign)), tuple(map(float, offset))
            )

        return cls(reflection("observation"), reflection("action"))

    def check(self, observation_size: int, action_size: int) -> None:
        """Raises ValueError if this is not the mirror of such a robot."""
        of = len(self.observation.index), len(self.action.index)
        if of != (observation_size, action_size):
            raise ValueError(
                f"its mirror has {of[0]} entries of an observation and {of[1]} of an action, it "
                f"has {observation_size} and {action_size}"
            )


def axes(*names: str, of: str = "xyz") -> list[str]:
    """Returns the names of vectors' components: `hand_x`, `hand_y`, `hand_z`."""
    return [f"{name}_{axis}" for name in names for axis in of]
