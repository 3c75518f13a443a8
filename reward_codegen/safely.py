"""Compiling text that nobody has read yet: first in a child process that has limits.

The compiler refuses what costs too much before it does it. This is the second wall: whatever it
overlooks ends the child and not the process that trains.

    python -m reward_codegen.safely

is the child: it reads a request from its standard input and answers on its standard output.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from reward_codegen import errors
from reward_codegen.errors import BudgetExceeded, RewardCodeError, shorten
from reward_codegen.program import RewardProgram, compile_reward
from reward_codegen.reading import decode

CPU_SECONDS = 5
MEMORY_BYTES = 768 * 2**20  # beyond what Python and JAX hold before they begin
WALL_SECONDS = 60.0
CHILD = ["-m", "reward_codegen.safely"]

# No keys of language models, no settings of accelerators.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
_SHORTER = "write two short functions with small arrays and few loops"


def compile_safely(text: str | bytes, *, state_size: int, action_size: int) -> RewardProgram:
    """As `compile_reward`, for text from a model or a file.

    A child process compiles the text first. It may use `CPU_SECONDS` of processor time,
    `MEMORY_BYTES` of memory, `WALL_SECONDS` in all, and write no file. Only what it compiles is
    compiled here. This costs the start of a process, about a second: programs that ship with the
    robots do not need it.

    Args:
        text: a raw reply, or Python source, as for `compile_reward`.
        state_size: the number of entries of a state, at least 1.
        action_size: the number of entries of an action, at least 1.

    Raises:
        RewardCodeError: the text cannot be used; as `compile_reward` says it, or that it took too
            much time or memory.
        ValueError: a size is below 1.
        RuntimeError: the child process does not start.
    """
    text = decode(text)
    answer = _ask(json.dumps({"text": text, "sizes": [state_size, action_size]}))
    if "error" in answer:
        raise _error(answer)
    return compile_reward(text, state_size=state_size, action_size=action_size)


def _ask(request: str) -> dict[str, Any]:
    """What the child answers.

    Raises:
        BudgetExceeded: it was ended by a limit.
    """
    root = str(Path(__file__).parents[1])
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = os.pathsep.join([root, *filter(None, [kept.get("PYTHONPATH")])])
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", *CHILD],
        env={**kept, **threads, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        output, complaints = child.communicate(request, timeout=WALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise BudgetExceeded(
            f"the program takes more than {WALL_SECONDS:g} s to compile; {_SHORTER}"
        ) from None
    finally:
        child.kill()
        child.wait()
    if child.returncode == 0:
        return json.loads(output)
    if child.returncode == -signal.SIGXCPU:
        raise BudgetExceeded(
            f"the program takes more than {CPU_SECONDS} s of processor time to compile; {_SHORTER}"
        )
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise BudgetExceeded(
            f"the program ends the process that compiles it ({name}), most likely for want of "
            f"memory; {_SHORTER}"
        )
    raise RuntimeError(f"the process that compiles reward code does not start: {complaints[-500:]}")


def _error(answer: dict[str, Any]) -> RewardCodeError:
    """The child's error, as it was raised there."""
    kind = getattr(errors, answer["error"], RewardCodeError)
    error = kind(answer["message"])
    error.line, error.text = answer["line"], answer["text"]
    return error


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    state_size, action_size = request["sizes"]
    try:
        compile_reward(request["text"], state_size=state_size, action_size=action_size)
    except RewardCodeError as error:
        failed = error
    except MemoryError:
        mebibytes = MEMORY_BYTES // 2**20
        failed = BudgetExceeded(
            f"the program takes more than {mebibytes} MiB of memory to compile; {_SHORTER}"
        )
    except ValueError:
        if min(state_size, action_size) < 1:
            return {}  # the caller will hear of it
        raise
    else:
        return {}
    kind = type(failed).__name__
    return {"error": kind, "message": str(failed), "line": failed.line, "text": failed.text}


def _limit() -> None:
    """Limits from here on: Python and JAX are imported, the text is not yet read."""
    status = Path("/proc/self/status").read_text() if os.path.exists("/proc") else ""
    held = next((int(s.split()[1]) for s in status.split("\n") if s.startswith("VmData")), 0)
    limits = {
        resource.RLIMIT_CPU: int(time.process_time()) + CPU_SECONDS,
        resource.RLIMIT_DATA: 1024 * held + MEMORY_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (soft, hard))


def main() -> None:
    """The child: one request, one answer."""
    _limit()
    request = json.loads(sys.stdin.buffer.read())
    try:
        answer = _answer(request)
    except Exception as error:  # a mistake of the compiler's own must not look like a limit
        message = f"the compiler fails on this program ({type(error).__name__}: {error})"
        answer = {"error": "RewardCodeError", "message": shorten(message, 300)}
        answer = {"line": None, "text": None, **answer}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
