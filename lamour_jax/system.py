"""What a run runs on: device, engine, precision and versions."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import jax

from envs.mujoco_engine import available_cores
from envs.physics import resolve
from lamour_jax.errors import UserError

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


def run_facts(engine: str) -> dict[str, Any]:
    """Returns what a run says of itself when it begins: `system_facts`, engine and precision."""
    return {**system_facts(), "engine": resolve(engine), "precision": _precision(engine)}


def _precision(engine: str) -> str:
    settings: Any = jax.config
    text = "float64" if settings.jax_enable_x64 else "float32"
    # Where it is not said, NVIDIA's and Google's hardware multiplies matrices in less than that.
    products = settings.jax_default_matmul_precision or "the device's default"
    if jax.default_backend() != "cpu":
        text += f", matrix products in {products} precision"
    return f"{text}, physics in float64" if resolve(engine) == "mujoco" else text


def require_accelerator() -> None:
    """Refuses to go on without one.

    Raises:
        UserError: JAX computes on the CPU.
    """
    if jax.default_backend() == "cpu":
        raise UserError(
            "--require-accelerator: JAX found no GPU or TPU and would compute on the CPU. Install "
            "`pip install -e '.[cuda]'` or '.[tpu]', check the driver (nvidia-smi) and that "
            "JAX_PLATFORMS does not say cpu"
        )
