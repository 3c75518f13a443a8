"""The comparison's own Python environment, made by one command:

    python -m benchmarks.compare_venv

Brax 0.14.2, the newest, calls a function that JAX 0.10 has removed, so its PPO runs on the newest
JAX that still has it. Versions are pinned: a comparison means little if the rival drifts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from lamour_jax.errors import UserError

PACKAGES = (
    "jax==0.9.2",
    "brax==0.14.2",
    "flax==0.12.6",
    "mujoco==4.0.0",
    "mujoco-mjx==3.17.0",
    "gymnasium==1.4.0",
    "dm-control==1.0.50",
)
# For --compare envpool; it may not install everywhere, and nothing else needs it.
OPTIONAL_PACKAGES = ("envpool==1.2.5",)


def folder() -> Path:
    """Returns where the environment is: `$LAMOUR_COMPARE_VENV`, or `.venv-compare` in here."""
    given = os.environ.get("LAMOUR_COMPARE_VENV")
    return Path(given) if given else Path(__file__).parents[1] / ".venv-compare"


def python() -> Path:
    """Returns the environment's interpreter.

    Raises:
        UserError: it has not been made yet; the message says how to.
    """
    interpreter = folder() / "bin" / "python"
    if not interpreter.exists():
        raise UserError(
            "comparing with brax or envpool needs an environment of its own (Brax's PPO does not "
            "run on this JAX); make it by: python -m benchmarks.compare_venv"
        )
    return interpreter


def make() -> list[str]:
    """Makes the environment, or completes it; returns the optional packages that did not install.

    Raises:
        UserError: it cannot be made.
    """
    interpreter = folder() / "bin" / "python"
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        if not interpreter.exists():
            subprocess.run([sys.executable, "-m", "venv", folder()], check=True)
        subprocess.run([*install, *PACKAGES], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"the comparison environment cannot be made: {error}") from None
    return [
        package
        for package in OPTIONAL_PACKAGES
        if subprocess.run([*install, package], check=False).returncode
    ]


def main() -> int:
    """Runs the command line; returns the exit status."""
    summary = (__doc__ or "").partition("\n")[0]
    argparse.ArgumentParser("python -m benchmarks.compare_venv", description=summary).parse_args()
    print(f"Installing {', '.join(PACKAGES + OPTIONAL_PACKAGES)} into {folder()} ...", flush=True)
    try:
        missing = make()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for package in missing:
        print(f"{package} did not install here: --compare envpool will not run")
    print(f"Ready: {folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
