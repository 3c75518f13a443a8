"""The host engine under load: equal bits, no deadlock, clear errors, an end on Ctrl-C."""

from __future__ import annotations

import concurrent.futures
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import mujoco
import numpy as np
import pytest

from envs import registry
from envs.physics import host_call
from envs.physics.interface import MujocoData
from envs.physics.mujoco_engine import MujocoEngine

STEPS, SUBSTEPS = 4, 2
# Of each thread that hammers, at least.
CALLS = 20

# What a process of the second half of these tests runs: a batch that would take minutes. Once it is
# interrupted, the same engine goes on with a batch of the same size.
LONG_BATCH = """
import signal
import sys
import jax
import numpy as np
from envs import registry
from envs.physics import host_call
from envs.physics.mujoco_engine import MujocoEngine

engine = MujocoEngine(registry.get("ant").make_model())
qpos = np.tile(engine.model.qpos0.astype(np.float32), (256, 1))
data = jax.vmap(engine.init)(qpos, np.zeros((256, engine.model.nv), np.float32))
step = jax.vmap(lambda data, ctrl: engine.step(data, ctrl, 5))

@jax.jit
def run(data, steps):
    ctrl = np.zeros((256, engine.model.nu), np.float32)
    return jax.lax.fori_loop(0, steps, lambda _, data: step(data, ctrl), data)

before = jax.device_get(run(data, 2))
# As in a shell; what runs in the background is started with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with host_call.interruptible():
        print("begins", flush=True)
        jax.block_until_ready(run(data, 1_000_000))
except KeyboardInterrupt:
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(run(data, 2)), before)
    sys.exit("stopped, and as before")
"""


def ant_engine(threads: int) -> MujocoEngine:
    return MujocoEngine(registry.get("ant").make_model(), threads=threads)


def program(engine: MujocoEngine) -> Callable[[np.ndarray, np.ndarray], MujocoData]:
    """Returns the compiled `(qpos, ctrl) -> data` of a batch over a few control steps."""

    @jax.jit
    def run(qpos: jax.Array, ctrl: jax.Array) -> MujocoData:
        data = jax.vmap(lambda q: engine.init(q, jax.numpy.zeros(engine.model.nv)))(qpos)
        step = jax.vmap(lambda data, u: engine.step(data, u, SUBSTEPS))
        return jax.lax.scan(lambda data, u: (step(data, u), None), data, ctrl)[0]

    return run


def inputs(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([size, seed])
    start = registry.get("ant").starts()["ood"].qpos
    qpos = start + rng.uniform(-0.05, 0.05, (size, len(start)))
    ctrl = rng.uniform(-1, 1, (STEPS, size, 8))
    return qpos.astype(np.float32), ctrl.astype(np.float32)


def assert_same_bits(actual: MujocoData, expected: MujocoData) -> None:
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(actual), expected)


def test_random_numbers_of_threads_give_the_same_bits() -> None:
    sizes = [1, 7, 64]
    one_by_one = program(ant_engine(threads=1))
    expected = {size: jax.device_get(one_by_one(*inputs(size))) for size in sizes}
    draw = random.Random(0)
    for threads in draw.sample(range(2, 33), 3):
        run = program(ant_engine(threads))
        for size in sizes:
            assert_same_bits(run(*inputs(size)), expected[size])


@pytest.mark.timeout(120)
def test_hammering_from_many_threads_and_processes() -> None:
    # Beside this process, another one keeps the cores busy with the same.
    rival = subprocess.Popen([sys.executable, "-c", LONG_BATCH], stdout=subprocess.DEVNULL)
    try:
        # Other draws each time: the seed is what a failure says.
        seed = random.SystemRandom().randrange(2**32)
        draw = random.Random(seed)
        sizes = [1, 3, *draw.sample(range(4, 33), 2)]
        cases = {(size, n): inputs(size, draw.randrange(2**32)) for size in sizes for n in range(8)}
        runs = [program(ant_engine(threads)) for threads in (1, 2, draw.randint(3, 32))]
        expected = {case: jax.device_get(runs[0](*given)) for case, given in cases.items()}
        end = time.monotonic() + 3.0

        def hammer(thread: int) -> int:
            draw, calls = random.Random(seed + thread), 0
            while time.monotonic() < end or calls < CALLS:
                case, run = draw.choice(list(cases)), draw.randrange(len(runs))
                try:
                    assert_same_bits(runs[run](*cases[case]), expected[case])
                except AssertionError as error:
                    pytest.fail(f"seed {seed}, thread {thread}: case {case}, run {run}: {error}")
                calls += 1
            return calls

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [future.result() for future in [pool.submit(hammer, n) for n in range(8)]]
        assert min(calls) >= CALLS
    finally:
        rival.kill()
        rival.wait()


@pytest.mark.parametrize("way", ["as it is", "not taken by jaxlib"])
def test_ctrl_c_ends_a_running_batch(way: str) -> None:
    program = LONG_BATCH
    if way == "not taken by jaxlib":
        program = f"from envs.physics import host_call; host_call._VERSION = (0, 0)\n{program}"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout
    assert child.stdout.readline() == b"begins\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    try:
        _, said = child.communicate(timeout=20)
    finally:
        child.kill()
    assert (child.returncode, said.decode().strip()) == (1, "stopped, and as before")


def test_an_error_inside_physics_names_the_environment() -> None:
    # Memory enough for a box in the air, not for one with four contacts.
    spec = mujoco.MjSpec.from_string("""
        <mujoco><size memory="6K"/><worldbody><geom type="plane" size="9 9 1"/>
        <body pos="0 0 5"><freejoint/><geom type="box" size=".5 .5 .5"/></body></worldbody>
        </mujoco>""")
    engine = MujocoEngine(spec.compile(), threads=2)
    qpos = np.tile(engine.model.qpos0.astype(np.float32), (4, 1))
    qpos[2, 2] = 0.4
    data = jax.vmap(engine.init)(qpos, np.zeros((4, 6), np.float32))
    step = jax.jit(jax.vmap(lambda data: engine.step(data, jax.numpy.zeros(0), 1)))
    in_the_air = jax.vmap(engine.init)(qpos + np.float32([0, 0, 9, 0, 0, 0, 0]), data.qvel)
    before = jax.device_get(step(in_the_air))
    failed = "PhysicsError: environment 2 of the 4 on its device: "
    with pytest.raises(host_call.FAILURES, match=failed):
        jax.block_until_ready(step(data))
    # The others, and the engine, go on; in the same batch too nothing is left of it.
    assert_same_bits(step(in_the_air), before)
    healthy = jax.tree.map(lambda leaf: leaf[:2], data)
    assert np.isfinite(step(healthy).qpos).all()


def test_an_interrupt_on_the_calling_thread_is_kept(ctrl_c: Callable[[], None]) -> None:
    def interrupted(results: list[np.ndarray], arguments: list[np.ndarray]) -> None:
        ctrl_c()

    host_call.register("interrupted", interrupted)
    shape = (jax.ShapeDtypeStruct((), np.float32),)
    run = jax.jit(lambda: host_call.call("interrupted", shape))
    with pytest.raises(KeyboardInterrupt), host_call.interruptible():
        jax.block_until_ready(run())
    with pytest.raises(jax.errors.JaxRuntimeError, match="interrupted"):
        jax.block_until_ready(run())


def test_an_interrupt_of_a_later_call_is_kept(ctrl_c: Callable[[], None]) -> None:
    def interrupted(results: list[np.ndarray], arguments: list[np.ndarray]) -> None:
        if arguments[0] < 0:
            ctrl_c()
        results[0][...] = arguments[0]

    host_call.register("interrupted later", interrupted)
    shape = (jax.ShapeDtypeStruct((), np.float32),)

    @jax.jit
    def run(x: jax.Array) -> jax.Array:
        def once(_: int, x: jax.Array) -> jax.Array:
            return host_call.call("interrupted later", shape, x)[0]

        return jax.lax.fori_loop(0, 3, once, x)

    fine, stops = (jax.device_put(np.float32(x)) for x in (1, -1))
    jax.block_until_ready(run(fine))
    with pytest.raises(KeyboardInterrupt), host_call.interruptible():
        jax.block_until_ready(run(stops))
