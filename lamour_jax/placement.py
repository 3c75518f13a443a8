"""Where arrays live: environments spread over the devices, everything else on each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError

_ENVS = "envs"


class Placement:
    """A row of devices, those of all hosts that take part, over which environments are spread.

    On a single device it changes nothing, not even the compiled program.
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        """Spreads over `devices`; by default over this host's first one."""
        chosen = jax.local_devices()[:1] if devices is None else list(devices)
        self._mesh = Mesh(np.array(chosen), (_ENVS,))
        # By the environments' axis: members of a population may stand before it.
        specs = (PartitionSpec(_ENVS), PartitionSpec(None, _ENVS))
        self._spread: list[Sharding] = [NamedSharding(self._mesh, spec) for spec in specs]
        self._everywhere: Sharding = NamedSharding(self._mesh, PartitionSpec())
        if self.size == 1:
            self._everywhere = SingleDeviceSharding(chosen[0])
            self._spread = [self._everywhere] * 2

    @property
    def size(self) -> int:
        """The number of devices."""
        return int(self._mesh.size)

    def map_envs(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `jax.vmap(function)`, each device working on its own environments by itself.

        Loops in it (of a physics solver) then end on each device when its own environments are
        done, and a host's engine is called by each device for its own.
        """
        batched = jax.vmap(function)
        if self.size == 1:
            return batched
        spec = PartitionSpec(_ENVS)
        return jax.shard_map(
            batched, mesh=self._mesh, in_specs=spec, out_specs=spec, check_vma=False
        )

    def place(
        self, tree: Any, spread: Callable[[Any], bool] = lambda leaf: False, axis: int = 0
    ) -> Any:
        """Returns arrays of this host put on the devices.

        Args:
            tree: arrays; the same on every host.
            spread: says of a leaf whether its `axis`, one entry for each environment, is spread
                over the devices; otherwise each of them has all of it.
            axis: the environments'.
        """
        return jax.tree.map(lambda leaf: _put(leaf, self._of(leaf, spread, axis)), tree)

    def constrain(
        self, tree: Any, spread: Callable[[Any], bool] = lambda leaf: False, axis: int = 0
    ) -> Any:
        """Does, inside a compiled program, what `place` does to arrays of this host."""
        if self.size == 1:
            return tree
        return jax.tree.map(
            lambda leaf: jax.lax.with_sharding_constraint(leaf, self._of(leaf, spread, axis)), tree
        )

    def _of(self, leaf: Any, spread: Callable[[Any], bool], axis: int) -> Sharding:
        # XLA moves what is empty to every device, whatever it is told.
        return self._spread[axis] if leaf.size and spread(leaf) else self._everywhere


def _put(leaf: jax.Array, sharding: Sharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(leaf), sharding))
    content = np.asarray(leaf)
    return jax.make_array_from_callback(content.shape, sharding, lambda index: content[index])


def for_run(config: RunConfig) -> Placement:
    """Returns the placement over the devices that a run asks for.

    Raises:
        UserError: there are fewer, or the environments cannot be spread evenly over them.
    """
    devices = jax.devices()
    if config.devices > len(devices):
        raise UserError(f"--devices {config.devices}: there are only {len(devices)} here")
    if config.devices and jax.process_count() > 1:
        raise UserError("--devices is for one process; several use all the devices that they see")
    count = config.devices or len(devices)
    if config.engine == "mjx-warp" and count > 1:
        raise UserError(
            f"--engine mjx-warp runs on one device, not {count}: its environments share a buffer; "
            "give --devices 1, or --engine mjx"
        )
    sizes = {"--num-envs": config.ppo.num_envs, "ppo.minibatch_size": config.ppo.minibatch_size}
    for name, size in sizes.items():
        if size % count:
            raise UserError(
                f"{name} {size} cannot be spread evenly over {count} devices; make it a multiple "
                f"of {count}, or use fewer by --devices"
            )
    return Placement(devices[:count])


def whole(leaf: jax.Array) -> np.ndarray:
    """Returns all of an array, wherever its parts are, on every host."""
    if leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def local(tree: Any) -> Any:
    """Returns what every device has a copy of as arrays on this host's first one alone."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)
