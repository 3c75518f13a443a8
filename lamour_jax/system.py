"""What a run ran on: device and versions, for its result."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import jax

from envs.mujoco_engine import available_cores

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "mujoco", "mujoco-mjx", "brax")


def system_facts() -> dict[str, Any]:
    """Returns the device (`cpu (2 cores)`, or the accelerator's kind) and the versions."""
    kind = jax.devices()[0].device_kind
    device = f"cpu ({available_cores()} cores)" if jax.default_backend() == "cpu" else kind
    versions = {"python": platform.python_version()}
    for package in ("lamour-jax", *_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"device": device, "versions": versions}
