"""NumPy functions called from inside compiled programs, so that the programs can be kept on disk.

JAX's own callbacks bake an address of this process into a program, which is why its persistent
compilation cache leaves such programs out. XLA's foreign function interface (FFI) calls by name
instead. Its handlers are C functions of a published, versioned binary interface
(`xla/ffi/api/c_api.h`, shipped with jaxlib); `ctypes` makes one from Python, without a compiler.
Where jaxlib does not take a handler of that version, JAX's own callback is used: all works alike,
but programs are compiled anew at every start. So they are on accelerators, which hand over copies.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, string_at
from ctypes import c_void_p as pointer
from typing import Any

import jax
import numpy as np
from jax.experimental.buffer_callback import ExecutionContext, buffer_callback

# Is given the results to write and the arguments, all C-contiguous views of XLA's own buffers.
HostFunction = Callable[[list[np.ndarray], list[np.ndarray]], None]
Shapes = tuple[jax.ShapeDtypeStruct, ...]
# What a failed call comes out of a program as: from its second run on, jaxlib may raise the latter.
FAILURES = (jax.errors.JaxRuntimeError, ValueError)

_TARGET = "lamour_jax_host_call"
# Of the interface as it is written down here, jaxlib 0.10's; 0.12, whose own is 0.5, takes handlers
# from 0.1 on.
_VERSION = (0, 3)
_METADATA = 1
_INTERNAL_ERROR = 13
# Codes of XLA's element types.
_DTYPES = {1: np.dtype(np.bool_), 4: np.dtype(np.int32), 11: np.dtype(np.float32)}

# By the name that stands in the program. A program outlives the object that it was traced from.
_functions: dict[str, HostFunction] = {}


def register(name: str, function: HostFunction) -> None:
    """Makes `function` callable under `name`, in place of an earlier one of that name.

    The name must say all that the function computes: a program of an earlier process calls it.
    """
    _functions[name] = function


def call(name: str, results: Shapes, *arguments: jax.Array) -> tuple[jax.Array, ...]:
    """Calls the function `name` from inside a program; under `vmap` once for the whole batch.

    The function does NumPy only, since calling JAX from inside a program can deadlock.

    Args:
        name: as registered.
        results: shapes and types of what it writes.
        *arguments: bool, int32 or float32.

    Returns:
        The tuple of results. Whatever the function raises reaches the caller as one of `FAILURES`
        with the exception's type and message.
    """
    on_cpu, on_accelerator = _callbacks(name, results, arguments[0].ndim if arguments else 0)
    called: tuple[jax.Array, ...] = jax.lax.platform_dependent(
        *arguments, cpu=on_cpu, default=on_accelerator
    )
    return called


@functools.cache  # the same objects for the same call: JAX traces them once
def _callbacks(
    name: str, results: Shapes, rank: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns how a program calls the function on a CPU, and how on an accelerator.

    `rank` is that of the first argument, without a batch.
    """
    if _is_available():
        ffi = jax.ffi.ffi_call(_TARGET, results, vmap_method="broadcast_all")
        on_cpu = functools.partial(ffi, function=name)
    else:
        on_cpu = buffer_callback(
            functools.partial(_on_buffers, name), results, vmap_method="broadcast_all"
        )
    # Only a CPU's buffers can be read in place.
    on_accelerator = functools.partial(
        jax.pure_callback,
        functools.partial(_on_copies, name, results, rank),
        results,
        vmap_method="broadcast_all",
    )
    return on_cpu, on_accelerator


def _on_buffers(name: str, _: ExecutionContext, results: Any, *arguments: Any) -> None:
    _run(name, [np.asarray(x) for x in results], [np.asarray(x) for x in arguments])


def _on_copies(name: str, shapes: Shapes, rank: int, *arguments: Any) -> tuple[np.ndarray, ...]:
    copies = [np.asarray(x) for x in arguments]
    batch = copies[0].shape[: copies[0].ndim - rank] if copies else ()
    results = [np.empty(batch + shape.shape, shape.dtype) for shape in shapes]
    _run(name, results, copies)
    return tuple(results)


def _run(name: str, results: list[np.ndarray], arguments: list[np.ndarray]) -> None:
    # Programs may run on the calling thread, which is then the one that Ctrl-C hits.
    with contextlib.suppress(KeyboardInterrupt):
        if not _interrupts:
            return _functions[name](results, arguments)
    raise RuntimeError("interrupted")


class _Interrupts:
    """Tells any thread that a signal has come in, which Python itself tells only its main thread.

    While a program runs, that thread waits inside JAX, for as long as an evaluation takes.
    """

    def __init__(self) -> None:
        self._reader: socket.socket | None = None
        self._seen = False

    @contextlib.contextmanager
    def noticed(self) -> Iterator[None]:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._reader, self._seen = reader, False
        try:
            yield
        except FAILURES:
            if self:
                raise KeyboardInterrupt from None
            raise
        finally:
            signal.set_wakeup_fd(before)
            self._reader, self._seen = None, False
            reader.close()
            writer.close()

    def __bool__(self) -> bool:
        reader = self._reader
        if reader is not None and not self._seen:
            with contextlib.suppress(OSError):  # mostly: nothing to read
                self._seen = not {signal.SIGINT, signal.SIGTERM}.isdisjoint(reader.recv(64))
        return self._seen


_interrupts = _Interrupts()


def interruptible() -> contextlib.AbstractContextManager[None]:
    """Within it, Ctrl-C (or a handled SIGTERM) ends a running program at its next host call.

    Without it, a program runs to its end first, or fails with one of `FAILURES` that says
    `interrupted`. Signals reach the main thread alone: in others it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return contextlib.nullcontext()
    return _interrupts.noticed()


# What c_api.h says of the structures that a handler meets. Each begins with its size and a list of
# extensions. Those of every call are read as bytes, field by field it would take 40 us longer.

# api, context, stage; then arguments, results (count, types, buffers) and attributes (count, types,
# names, values).
_FRAME = struct.Struct("@NPPPi NPqPP NPqPP NPqPPP")
# dtype, data, rank, dims.
_BUFFER = struct.Struct("@NPiPqP")
# data, length.
_TEXT = struct.Struct("@PN")


class _Extension(ctypes.Structure):
    _fields_ = (("size", c_size_t), ("type", c_int), ("next", pointer))


class _ApiVersion(ctypes.Structure):
    _fields_ = (("size", c_size_t), ("extension", pointer), ("major", c_int), ("minor", c_int))


class _Metadata(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t),
        ("api_version", _ApiVersion),
        ("traits", c_uint32),
        ("state_type", c_int64),
    )


class _MetadataExtension(ctypes.Structure):
    _fields_ = (("base", _Extension), ("metadata", POINTER(_Metadata)))


class _ErrorArguments(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t),
        ("extension", pointer),
        ("message", c_char_p),
        ("code", c_int),
    )


class _Api(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t),
        ("extension", pointer),
        ("version", _ApiVersion),
        ("internal", pointer),
        ("create_error", CFUNCTYPE(pointer, POINTER(_ErrorArguments))),
    )


# Views of buffers by address, type and shape: programs use the same ones over and over. A view owns
# nothing, so an old one does no harm.
_views: dict[tuple[int, int, bytes], np.ndarray] = {}
_MAX_VIEWS = 4096


@CFUNCTYPE(pointer, pointer)
def _handler(address: int) -> int | None:
    """What XLA calls. Nothing may be raised from here: ctypes would drop it."""
    frame = _FRAME.unpack(string_at(address, _FRAME.size))
    extension, api = frame[1], frame[2]
    try:
        if extension and _Extension.from_address(extension).type == _METADATA:
            _describe(_MetadataExtension.from_address(extension).metadata)
            return None
        (value,) = _addresses(frame[20], 1)
        name = string_at(*_TEXT.unpack(string_at(value, _TEXT.size))).decode()
        _run(name, _arrays(frame[14], frame[12]), _arrays(frame[9], frame[7]))
    except BaseException as error:
        return _error(api, f"{type(error).__name__}: {error}")
    return None


def _describe(metadata: Any) -> None:
    version = metadata.contents.api_version
    version.size = ctypes.sizeof(_ApiVersion)
    version.extension = None
    version.major, version.minor = _VERSION
    metadata.contents.traits = 0
    metadata.contents.state_type = 0


def _addresses(at: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f"@{count}P", string_at(at, count * struct.calcsize("P")))


def _arrays(at: int, count: int) -> list[np.ndarray]:
    arrays = []
    for address in _addresses(at, count):
        _, _, dtype, data, rank, dims = _BUFFER.unpack(string_at(address, _BUFFER.size))
        key = (data, dtype, string_at(dims, 8 * rank) if rank else b"")
        view = _views.get(key)
        if view is None:
            if len(_views) >= _MAX_VIEWS:
                _views.clear()
            view = _views[key] = _view(*key)
        arrays.append(view)
    return arrays


def _view(data: int, kind: int, dims: bytes) -> np.ndarray:
    dtype, shape = _DTYPES[kind], struct.unpack(f"@{len(dims) // 8}q", dims)
    size = math.prod(shape) * dtype.itemsize
    if not size:  # XLA gives an empty buffer no address
        return np.empty(shape, dtype)
    content = memoryview((ctypes.c_char * size).from_address(data))
    return np.frombuffer(content.cast("B"), dtype).reshape(shape)


def _error(api: int, message: str) -> int:
    arguments = _ErrorArguments(
        ctypes.sizeof(_ErrorArguments), None, message.encode(errors="replace"), _INTERNAL_ERROR
    )
    error: int = _Api.from_address(api).create_error(ctypes.byref(arguments))
    return error


@functools.cache
def _is_available() -> bool:
    """Registers the handler once; false if jaxlib does not take it."""
    jax.local_devices(backend="cpu")  # before, a refusal would be one of the whole backend
    try:
        jax.ffi.register_ffi_target(_TARGET, jax.ffi.pycapsule(_handler), platform="cpu")
    except Exception:  # whatever jaxlib says
        return False
    return True
