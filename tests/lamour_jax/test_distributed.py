"""Which processes are looked for, and what is said where they do not meet."""

from __future__ import annotations

import socket
import subprocess
import sys

import jax
import pytest

from lamour_jax import distributed
from lamour_jax.errors import UserError


def test_where_nobody_is_found_the_way_to_go_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialize(*arguments: object) -> None:
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(distributed, "_on_tpu", lambda: True)
    with pytest.raises(UserError, match="coordinator_address .*--num-processes 1 --process-id 0"):
        distributed.connect()
    with pytest.raises(UserError, match="should be defined.$"):
        distributed.connect("localhost:12355", 1, 0)


def test_one_process_can_be_told_that_it_is_alone() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    program = (
        "from lamour_jax import distributed; import jax;"
        f"distributed.connect('localhost:{port}', 1, 0);"
        "print(jax.process_count(), distributed.several())"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"], done.stderr
