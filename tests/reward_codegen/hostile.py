"""Compiles hostile texts one after the other, and tells of each what it took.

    python -m tests.reward_codegen.hostile [FILE ...]

A line a text: its name, seconds of processor time, growth of the largest memory in MiB, and what
became of it. An effect outside of the interpreter (a file opened for writing, a process, a socket)
ends the run.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from reward_codegen import RewardCodeError, compile_reward

CASES = Path(__file__).parent / "cases" / "hostile.txt"
LONGEST = 8.0  # seconds of processor time
HEAD = """import math
import numpy as np

def is_recovered(state):
    return 1 if state[0] > 0.3 else 0

def calculate_reward(state, action):
    s, a = state, action
"""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EFFECTS = ("subprocess.", "os.system", "os.exec", "os.fork", "os.remove", "os.mkdir", "socket.")


def texts() -> Iterator[tuple[str, str]]:
    """The names and texts: those of the file, and large ones made here."""
    sections = CASES.read_text().removeprefix("=== ").split("\n=== ")
    yield from (tuple(section.split("\n", 1)) for section in sections)  # type: ignore[misc]
    for name, body in LARGE.items():
        yield name, HEAD + "".join(f"    {line}\n" for line in body.split("\n"))
    yield from RAW.items()


LARGE = {
    "nested lambdas": "x = " + "lambda x=" * 5000 + "1" + ": x" * 5000 + "\nreturn -1.0",
    "a long name": "return -1.0 * " + "a" * 50_000,
    "nested lists": "return " + "[" * 90 + "1" + "]" * 90,
    "a long sum": "return -1.0" + " + s[5]" * 6000,
    "a long chain": "return -1.0 if 0 < " + " < ".join(["s[5]"] * 4000) + " else -2.0",
    "many names": "\n".join(f"x{i} = s[5] + {i}" for i in range(3000)) + "\nreturn x0",
    "many branches": "\n".join(f"if s[5] > {i}: t = {i}" for i in range(1500)) + "\nreturn t",
    "doubling text": "t = 'a'\nfor _ in range(40): t = t + t\nreturn -float(len(t))",
    "doubling list": "t = [s[5]]\nfor _ in range(40): t = t + t\nreturn -float(len(t))",
    "squares of integers": "x = 3\nfor _ in range(40): x = x * x\nreturn -float(x % 7)",
    "shifted integers": "return -float((1 << 10 ** 9) % 7)",
    "power of integers": "return -float(9 ** 9 ** 9 % 7)",
    "factorial": "return -float(math.factorial(10 ** 7) % 7)",
    "binomial": "return -float(math.comb(10 ** 7, 10 ** 6) % 7)",
    "padded format": "return -float(len('{:>1000000000}'.format(1)))",
    "percent padded": "return -float(len('%1000000000d' % 1))",
    "justified text": "return -float(len('a'.ljust(10 ** 10)))",
    "replaced text": "return -float(len(('a' * 9999).replace('a', 'b' * 9999)))",
    "joined text": "return -float(len(('a' * 9999).join(['b'] * 9999)))",
    "huge range list": "return -float(len(list(range(10 ** 9))))",
    "sum of a huge range": "return -float(sum(range(10 ** 9)))",
    "endless while": "n = 0\nwhile True: n += 1\nreturn -1.0",
    "endless recursion": "def f(n): return f(n + 1)\nreturn -f(0)",
    "double recursion": "def f(n): return f(n - 1) + f(n - 1) if n > 0 else s[5]\nreturn -f(40)",
    "endless iterator": "import itertools\nreturn -float(sum(itertools.count()))",
    "cycle": "import itertools\nreturn -float(max(itertools.cycle([1, 2])))",
    "permutations": "import itertools\nreturn -float(len(list(itertools.permutations(range(20)))))",
    "product": "import itertools\nreturn -sum(1 for _ in itertools.product(range(99), repeat=9))",
    "list that grows": "xs = [1.0]\nfor x in xs: xs.append(x)\nreturn -1.0",
    "list in itself": "xs = [1]\nxs.append(xs)\nreturn -1.0 if xs == xs else -2.0",
    "lists in themselves": "p, q = [], []\np.append(p); q.append(q)\nreturn -float(p == q)",
    "huge zeros": "return -np.zeros((100000, 100000)).sum()",
    "huge outer": "v = np.ones(90000)\nreturn -np.outer(v, v).sum()",
    "huge broadcast": "v = np.ones(90000)\nreturn -(v[:, None] * v).sum()",
    "huge tile": "return -np.tile(s, 10 ** 9).sum()",
    "huge repeat": "return -np.repeat(s, 10 ** 9).sum()",
    "huge pad": "return -np.pad(s, 10 ** 9).sum()",
    "huge arange": "return -np.arange(0, 1, 1e-12).sum()",
    "huge eye": "return -np.eye(10 ** 6).sum()",
    "huge full": "return -np.full(10 ** 11, 1.0).sum()",
    "huge window": "return -np.convolve(np.ones(99999), np.ones(99999)).sum()",
    "huge reshape": "return -np.broadcast_to(s[0], (10 ** 6, 10 ** 6)).sum()",
    "huge diff": "return -np.diff(np.ones(90000), n=80000).sum()",
    "many inverses": "m = np.eye(60)\nfor _ in range(2000): m = np.linalg.inv(m)\nreturn -1.0",
    "many sorts": "v = np.ones(90000)\nfor _ in range(5000): v = np.sort(v)\nreturn -v[0]",
    "budget caught": "try:\n    while True: s[0] += 1\nexcept Exception: pass\nreturn -1.0",
    "memory caught": "try:\n    x = [0] * 10 ** 12\nexcept MemoryError:\n    x = []\nreturn -1.0",
    "frames": "return -float(len(calculate_reward.__globals__))",
    "subclasses": "return -float(len(().__class__.__base__.__subclasses__()))",
    "getattr": "return getattr(np, 'sa' + 've')('canary', s)",
    "tofile": "s.tofile('canary')\nreturn -1.0",
    "savez": "np.savez('canary', s)\nreturn -1.0",
    "loadtxt": "return np.loadtxt('/etc/hostname').sum()",
    "memmap": "return np.memmap('canary', mode='w+', shape=9).sum()",
    "import by name": "return __import__('os').system('touch canary')",
    "evaluated text": "return eval('1')",
    "numpy source": "return np.f2py.compile('')",
}
RAW = {
    "tags": "<code>x</code>" * 27_000,
    "fences": "```\n" * 90_000,
    "tabs behind fences": ("~~~" + " \t" * 12_000 + "`\n") * 15,
    "quotes in a fence": '```python\n"""' + "x ```\n" * 60_000,
    "brackets": "[" * 300_000,
    "braces": "{" * 99 + "1:2,3",
    "backslashes": "\\\n" * 100_000,
    "thoughts": "<think>" * 50_000,
}


def watch(event: str, arguments: tuple) -> None:
    """Ends the process at an effect outside of it."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
    if writes or event.startswith(_EFFECTS):
        print(f"EFFECT: {event} {arguments!r}", flush=True)
        os._exit(3)


class TooLongError(BaseException):
    """A text takes more processor time than any may."""


def give_up(*_: object) -> None:
    """Ends the text that is being compiled, so that the others are seen too."""
    raise TooLongError(f"more than {LONGEST} s")


def main() -> None:
    """The report."""
    signal.signal(signal.SIGPROF, give_up)
    files = [Path(name) for name in sys.argv[1:]]
    some = [(path.name, path.read_bytes()) for path in files] or list(texts())
    compile_reward(HEAD + "    return -np.sin(s[5])\n", state_size=27, action_size=8)
    sys.addaudithook(watch)
    for name, text in some:
        print(name, end="\t", flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
        try:
            compile_reward(text, state_size=27, action_size=8)
            result = "compiled"
        except RewardCodeError as error:
            result = f"refused: {type(error).__name__}: {error}"
        except BaseException as error:
            result = f"CRASH: {type(error).__name__}: {str(error)[:200]}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{seconds:.2f}\t{grown:.0f}\t{result}", flush=True)


if __name__ == "__main__":
    main()
