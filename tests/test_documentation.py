"""The documentation says what is true: its commands are understood, its Python runs.

Commands are not run here, they are parsed by the program that they name, with every option and
value; those of training are also resolved to a run's settings. What no parser here knows is listed,
with the reason.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tyro

from lamour_jax import config_reference, train
from lamour_jax.config import RunConfig, settings
from lamour_jax.errors import UserError

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "*/*/README.md", "*/README.md")
    for page in REPOSITORY.glob(pattern)
    if page.relative_to(REPOSITORY).parts[0]
    in ("README.md", "CONTRIBUTING.md", "docs", "envs", "lamour_jax", "reward_codegen")
)
PACKAGES = ("envs", "reward_codegen", "lamour_jax", "benchmarks")

# Modules that take no options, and where they are run.
RUN_ELSEWHERE = {
    "lamour_jax.config_reference": "test_configuration_reference, below",
    "envs.tools": "would write banks into the package",
}
# Commands that are not ours, and why they are not run.
NOT_OURS = {
    "python3 -m venv": "make test has run it",
    "tensorboard": "a server that runs until it is stopped; tests/lamour_jax/test_loggers.py "
    "reads the files",
    "ruff check .": "make lint runs it",
    "mypy": "make lint runs it",
    ".": "of the shell",
    "export": "of the shell",
    "cd": "of the shell",
    "npm": "needs the network; what it makes lies in lamour_jax/web",
    "npx": "needs the network; what it makes lies in lamour_jax/web",
    "ray": "starts a cluster",
    "gcloud": "needs an account and a TPU",
    "journalctl": "of the VM, in gcloud's --command",
    "sudo systemctl": "of the VM, in gcloud's --command",
    "[": "of the shell",
    "scontrol": "needs Slurm",
    "nvidia-smi": "needs an NVIDIA GPU",
}


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yields the fenced blocks of a page in one of the languages."""
    pattern = rf"^ *```(?:{'|'.join(languages)})\n(.*?)^ *```"
    for match in re.finditer(pattern, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        yield match.group(1)


def commands(page: Path) -> Iterator[list[str]]:
    """Yields the commands in a page's shell blocks, and those of Python in its running text."""
    for block in blocks(page, "bash", "sh", "shell"):
        text = block.replace("\\\n", " ")
        if is_script(block):
            # Its syntax is checked as a whole; of its commands those of Python alone are.
            text = "\n".join(re.findall(r"\bpython -m .*", text))
        for line in text.splitlines():
            yield from commands_of(line)
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"`(python -m [^`]+)`", text):
        yield shlex.split(match.group(1), comments=True)


def commands_of(line: str) -> Iterator[list[str]]:
    """Yields the commands of a line, and those that it hands on by `--command='...'`."""
    words = shlex.split(line, comments=True)
    while words:
        end = next((i for i, word in enumerate(words) if word in ("&&", ";", "|")), None)
        command, words = (words, []) if end is None else (words[:end], words[end + 1 :])
        if command:
            yield command
        for word in command:
            if word.startswith("--command="):
                yield from commands_of(word.removeprefix("--command="))


def is_script(block: str) -> bool:
    """Returns whether a block is a program of the shell's: its syntax is checked as a whole."""
    return re.search(r"^ *(while|until|if|for) ", block, re.MULTILINE) is not None


def all_commands() -> dict[str, list[str]]:
    """Returns the commands by page and text, without settings of the environment before them."""
    found = {}
    for page in PAGES:
        for words in commands(page):
            while words and (re.fullmatch(r"[A-Z_]+=.*", words[0]) or words[0] == "srun"):
                words = words[1:]
            if words:
                words = [words[0].removeprefix(".venv/bin/"), *words[1:]]
                found[f"{page.relative_to(REPOSITORY)}: {shlex.join(words)}"] = words
    return found


COMMANDS = all_commands()


class Parsed(Exception):
    """Carries what a command line was parsed to, instead of running it."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(parse: Any) -> Any:
        def stop(*args: Any, **options: Any) -> None:
            raise Parsed(parse(*args, **options))

        return stop

    monkeypatch.setattr(tyro, "cli", stopping(tyro.cli))
    subcommands = stopping(tyro.extras.subcommand_cli_from_dict)
    monkeypatch.setattr(tyro.extras, "subcommand_cli_from_dict", subcommands)


def check_module(module: str, arguments: list[str]) -> None:
    """Has a module of ours parse its arguments."""
    if module in RUN_ELSEWHERE:
        assert importlib.util.find_spec(module) is not None
        return
    assert module.partition(".")[0] in PACKAGES, f"unknown module {module}"
    imported = importlib.import_module(module)
    if hasattr(imported, "__path__"):
        imported = importlib.import_module(f"{module}.__main__")
    arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
    if not inspect.signature(imported.main).parameters:
        assert not arguments, "it takes none"
        return
    try:
        imported.main(arguments)
    except Parsed as parsed:
        [result] = parsed.args
    except SystemExit as error:
        pytest.fail(f"its arguments are not understood (exit status {error.code})")
    else:
        pytest.fail("it did not parse its arguments by tyro")
    # Also files of the reader's own, which are not there.
    placeholders = [w for w in arguments if re.fullmatch(r"[A-Z_]{2,}|<\w+>|.*\.py:\w+|\w+/", w)]
    if isinstance(result, train.Arguments) and result.resume is None and not placeholders:
        check_sizes(train.resolve(result))


def check_sizes(config: RunConfig) -> None:
    """Sizes for accelerators still make a training: many iterations, not thousands of updates each.

    The presets' sizes are tuned, and a smaller batch than theirs is not meant to be.
    """
    if config.ppo.num_envs >= 1024:
        updates = config.ppo.epochs * config.ppo.batch_size // config.ppo.minibatch_size
        assert config.iterations >= 50, f"{config.iterations} iterations"
        assert updates <= 128, f"{updates} updates an iteration"


def extras() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])


def check_pip(words: list[str]) -> None:
    assert words[:1] in (["install"], ["wheel"])
    for word in words[1:]:
        if bracketed := re.search(r"\[(.+)\]", word):
            assert set(bracketed.group(1).split(",")) <= extras(), word
        elif word.startswith("-r"):
            pytest.fail("there is no requirements file")


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    target, *variables = words
    assert target in targets
    for name, _, value in (variable.partition("=") for variable in variables):
        assert name in ("ARGS", "PYTHON")
        if (name, target) == ("ARGS", "train"):
            check_module("lamour_jax.train", shlex.split(value))


@pytest.mark.parametrize("name", COMMANDS)
def test_command(name: str, parse_only: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = COMMANDS[name]
    try:
        match words:
            case ["python", "-m", module, *arguments]:
                check_module(module, arguments)
            case ["pip", *arguments] | ["python", "-m", "pip", *arguments]:
                check_pip(arguments)
            case ["make", *arguments]:
                check_make(arguments)
            case ["pytest", *arguments]:
                for word in arguments:
                    assert "/" not in word or (REPOSITORY / word).exists(), word
            case _:
                text = " ".join(words)
                assert any(text == known or text.startswith(f"{known} ") for known in NOT_OURS)
    except UserError as error:
        pytest.fail(f"{error}")


@pytest.mark.parametrize(
    "line",
    [
        "python -m lamour_jax.train --envs ant",
        "python -m lamour_jax.train --env dog",
        "python -m lamour_jax.train --set ppo.lr=1",
        "python -m lamour_jax.nothing",
        "python -m reward_codegen chekc FILE --env ant",
        "make tests",
        "pip install -e '.[gpu]'",
        "curl -O https://example.org",
        "python -m lamour_jax.train --env hopper --num-envs 16384",
        "python -m lamour_jax.train --env hopper --num-envs 4096",
    ],
)
def test_a_wrong_command_is_found(
    line: str, parse_only: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "wrong", shlex.split(line))
    with pytest.raises((AssertionError, ImportError, pytest.fail.Exception)):
        test_command("wrong", None, capsys)


def test_commands_within_commands_are_found() -> None:
    line = "gcloud ssh --worker=all --command='cd a && python -m lamour_jax.train --num-envs 1'"
    assert list(commands_of(line))[1:] == [
        ["cd", "a"],
        ["python", "-m", "lamour_jax.train", "--num-envs", "1"],
    ]
    pages = {name.partition(": ")[0] for name in COMMANDS if "lamour_jax.train" in name}
    assert "docs/tpu.md" in pages


def test_there_are_commands() -> None:
    pages = {name.partition(": ")[0] for name in COMMANDS}
    assert {"README.md", "CONTRIBUTING.md", "docs/reward_code.md", "docs/metrics.md"} <= pages
    assert len(COMMANDS) > 30


PYTHON = {
    f"{page.relative_to(REPOSITORY)} {index}": block
    for page in PAGES
    for index, block in enumerate(blocks(page, "python"))
}


@pytest.mark.parametrize("name", PYTHON)
def test_python_names_exist(name: str) -> None:
    """What the examples import is there; README's, which is whole, runs."""
    tree = ast.parse(PYTHON[name])
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in PACKAGES:
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
    if name.startswith("README.md"):
        exec(compile(tree, name, "exec"), {})


def documented(text: str) -> bool:
    return re.search(r"^ *>>> ", text, re.MULTILINE) is not None


DOCTESTS = [
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
    for package in PACKAGES
    for file in sorted((REPOSITORY / package).rglob("*.py"))
    if documented(file.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("name", DOCTESTS)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name.removesuffix(".__init__"))
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


def test_configuration_reference() -> None:
    written = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == config_reference.reference(), (
        "run `python -m lamour_jax.config_reference > docs/configuration.md`"
    )
    for name in settings():
        assert f"| `{name}` | " in written, name


def test_pages_link_to_files_that_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_list_of_modules_has_no_dead_entries() -> None:
    modules = {words[2] for words in COMMANDS.values() if words[:2] == ["python", "-m"]}
    assert set(RUN_ELSEWHERE) <= modules


SCRIPTS = [
    block for page in PAGES for block in blocks(page, "bash", "sh", "shell") if is_script(block)
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_have_no_syntax_error(script: str) -> None:
    process = subprocess.run(
        ["bash", "-n"], input=script, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
