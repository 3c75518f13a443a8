"""Write a finished run's page again: `python -m lamour_jax.report RUN`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

import envs
from lamour_jax.config import read_config
from lamour_jax.errors import UserError
from lamour_jax.report.page import FILE, write_page
from lamour_jax.run.folder import read_result


@dataclass(frozen=True)
class Arguments:
    """Write a finished run's report.html again, from what its folder holds."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    run = tyro.cli(Arguments, prog="python -m lamour_jax.report", args=argv).run
    try:
        config = read_config(run)
        if config.stage != "recovery":
            raise UserError(f"the run in {run} trained an original policy; reports are of recovery")
        result = read_result(run)
        try:
            write_page(run, config, result, envs.load(config.env, engine="mujoco"))
        except OSError as error:
            raise UserError(f"{run / FILE} cannot be written: {error.strerror or error}") from None
    except (UserError, envs.ModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Written: {run / FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
