"""Compiled programs kept on disk: the second start of the same run compiles nothing."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax

# Beyond this, the programs that were used longest ago are dropped.
_MAX_BYTES = 2 * 1024**3


def default_folder() -> Path:
    """Returns the user's cache folder for programs of this machine (XDG convention).

    A home directory may be shared by machines whose processors differ; a program compiled for one
    may not run on another.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "lamour_jax" / "programs" / _processor()


def enable(wanted: bool = True, own_folder: bool = True) -> None:
    """Keeps compiled programs from now on; call it before anything is compiled.

    Whoever sets `JAX_COMPILATION_CACHE_DIR` has chosen another folder, which is left alone. One
    that cannot be written is as good as none.

    Args:
        wanted: False: neither reads nor keeps programs.
        own_folder: False: keeps them only where `JAX_COMPILATION_CACHE_DIR` says. Of several
            processes one alone writes, so that only a folder which all hosts share serves them.
    """
    if not wanted:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if jax.config.values["jax_compilation_cache_dir"] or not own_folder:
        return
    folder = default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    _prune(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Small programs as well: there are hundreds of them, and together they take seconds.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _processor() -> str:
    """Returns a short name for what this machine's processor can do."""
    facts = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        facts += "".join(sorted({line for line in lines if line.startswith(wanted)}))
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _prune(folder: Path) -> None:
    entries = []
    for file in folder.glob("*-cache"):
        try:
            entries.append((file.stat(), file))
        except OSError:  # another process has just dropped it
            continue
    total = sum(stat.st_size for stat, _ in entries)
    for stat, file in sorted(entries, key=lambda entry: entry[0].st_atime):
        if total <= _MAX_BYTES:
            return
        file.unlink(missing_ok=True)
        total -= stat.st_size
