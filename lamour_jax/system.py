"""What a run runs on: device, engine, precision and versions."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import jax

from envs.physics.choice import resolve
from envs.physics.mujoco_engine import available_cores
from lamour_jax.config import Precision
from lamour_jax.errors import UserError

_JAX_NAMES = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "mujoco", "mujoco-mjx", "brax")


def system_facts() -> dict[str, Any]:
    """Returns the device (`cpu (2 cores)`, or the accelerator's kind) and the versions."""
    kind, count = jax.devices()[0].device_kind, len(jax.devices())
    cores = available_cores()
    on_host = f"cpu ({cores} core{'s' if cores > 1 else ''})"
    device = on_host if jax.default_backend() == "cpu" else kind
    if count > 1:
        device = f"{count} x {device}"
    versions = {"python": platform.python_version()}
    for package in ("lamour-jax", *_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"device": device, "versions": versions}


def run_facts(engine: str, precision: Precision) -> dict[str, Any]:
    """Returns what a run says of itself when it begins: `system_facts`, engine and precision."""
    return {
        **system_facts(),
        "engine": resolve(engine),
        "precision": _precision(engine, precision),
    }


def set_precision(precision: Precision) -> None:
    """Sets the precision of matrix products, which a CPU computes in float32 in any case.

    Left to themselves NVIDIA's and Google's chips multiply in less: what was learned on one kind
    of device would not be learned on another.
    """
    jax.config.update("jax_default_matmul_precision", _JAX_NAMES[precision])


def _precision(engine: str, precision: Precision) -> str:
    text = jax.dtypes.canonicalize_dtype(float).name
    if jax.default_backend() != "cpu" and precision != "float32":
        text += f", matrix products in {precision}"
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
