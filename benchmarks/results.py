"""What was measured: a table (CSV) a subject in `benchmarks/results`, and one page made from them.

    python -m benchmarks.results            # writes benchmarks/results/README.md

The benchmark programs add rows to the tables with `--keep`. A later row of the same command and
the same subject takes the place of an earlier one on the page; the table keeps both.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from scipy import stats

from envs import EnvironmentUnavailable
from envs.physics.mujoco_engine import available_cores
from lamour_jax.errors import UserError

FOLDER = Path(__file__).with_name("results")
# What every row says of its measurement, besides what was measured.
FACTS = ("date", "command", "commit", "machine", "device", "versions")
_PACKAGES = ("python", "jax", "mujoco", "mujoco-mjx")
Row = dict[str, str]


def command_line(module: str, given: list[str], *, where: bool = False) -> str:
    """Returns the command of a benchmark; unless `where`, without what says where to write."""
    words, skip = [], False
    for word in given:
        if where or not (skip or word in ("--keep", "--out")):
            words.append(word)
        skip = word == "--out"
    return shlex.join(["python", "-m", module, *words])


def cpu_name() -> str:
    """Returns the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if "model name" in line:
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_facts() -> dict[str, Any]:
    """Returns what is measured on, and how busy it is."""
    return {
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": available_cores(),
        "load_average": os.getloadavg()[0],
    }


def facts(command: str) -> Row:
    """Returns the columns that every row has, of a measurement made now by `command`."""
    # Starts JAX, which a grid's parent process must not do before its children.
    from lamour_jax.system import system_facts

    system = system_facts()
    git = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    versions = {name: system["versions"].get(name) for name in _PACKAGES}
    return {
        "date": f"{datetime.date.today()}",
        "command": command,
        "commit": done.stdout.strip() or "not noted",
        "machine": cpu_name(),
        "device": system["device"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def read(subject: str, folder: Path = FOLDER) -> list[Row]:
    """Returns the rows of a subject's table."""
    with (folder / f"{subject}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(subject: str, rows: Iterable[dict[str, Any]], command: str, folder: Path = FOLDER) -> None:
    """Adds rows to a subject's table, and writes the page anew.

    Args:
        subject: a name of `SUBJECTS`.
        rows: values by column; columns that the table does not have are left out.
        command: that measured them.
        folder: of the tables.
    """
    file = folder / f"{subject}.csv"
    with file.open(encoding="utf-8", newline="") as present:
        columns = next(csv.reader(present))
    about = facts(command)
    with file.open("a", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
        writer.writerows(
            {name: _plain(value) for name, value in (row | about).items()} for row in rows
        )
    (folder / "README.md").write_text(page(folder), encoding="utf-8")


def save(
    subject: str,
    rows: list[dict[str, Any]],
    command: str,
    out: Path | None,
    *,
    keep_too: bool,
) -> Path:
    """Writes measurements as a table of their own; returns the file.

    Args:
        subject: a name of `SUBJECTS`.
        rows: values by column.
        command: that measured them.
        out: the file; runs/<subject>-<time>.csv by default.
        keep_too: whether to add the rows to the repository's table.
    """
    file = out or Path("runs") / f"{subject}-{datetime.datetime.now():%Y%m%d-%H%M%S}.csv"
    file.parent.mkdir(exist_ok=True)
    about = facts(command)
    with file.open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, [*rows[0], *FACTS], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(x) for name, x in (row | about).items()} for row in rows)
    if keep_too:
        keep(subject, rows, command)
    return file


def console() -> Console:
    """Returns where the programs print; in a file or a pipe, tables keep their columns."""
    width = None if sys.stdout.isatty() else 120
    return Console(highlight=False, soft_wrap=True, width=width)


def program(
    subject: str,
    arguments: type[Any],
    measure: Callable[[Any, Console], list[dict[str, Any]]],
    argv: list[str] | None,
    picture: Callable[[list[dict[str, Any]], Path], None] | None = None,
) -> int:
    """Runs the command line of a program that fills a table; returns the exit status.

    Args:
        subject: a name of `SUBJECTS`, and of the program.
        arguments: what its command line is parsed into; among them `out` and `keep`.
        measure: measures, prints, and returns rows; it may raise a `UserError`.
        argv: the command line; this process's by default.
        picture: draws the rows into a file.
    """
    module = f"benchmarks.{subject}"
    given = sys.argv[1:] if argv is None else argv
    chosen, to = tyro.cli(arguments, prog=f"python -m {module}", args=given), console()
    try:
        if chosen.out is not None and not chosen.out.parent.is_dir():
            folder = chosen.out.parent
            raise UserError(f"--out {chosen.out}: the folder {folder} does not exist")
        rows = measure(chosen, to)
    except (UserError, EnvironmentUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    file = save(subject, rows, command_line(module, given), chosen.out, keep_too=chosen.keep)
    to.print(f"Written to {file}")
    if picture:
        picture(rows, file.with_suffix(".png"))
        to.print(f"Drawn in {file.with_suffix('.png')}")
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if value == value else ""
    return value


@dataclass(frozen=True)
class Subject:
    """A part of the page.

    Attributes:
        title, text: above its tables.
        key: columns that say what a row is of; with the command, a later row replaces an earlier.
        pivot: makes tables of all rows, whatever the command was; by default a command's rows are
            one table with a column for each of theirs.
    """

    title: str
    text: str
    key: tuple[str, ...]
    pivot: Callable[[list[Row]], list[str]] | None = None


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Returns the lines of a Markdown table."""
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def shown(value: str) -> str:
    """Returns a number with the digits that one reads; text as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    if value.isdecimal():
        return f"{number:,.0f}"
    if 0.0 < abs(number) < 1e-3:
        return f"{number:.0e}"
    return f"{number:,.0f}" if abs(number) >= 1e3 else f"{number:.3g}"


def _unique(rows: list[Row], *names: str) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(tuple(row[name] for name in names) for row in rows))


def _latest(rows: list[Row], key: Iterable[str]) -> list[Row]:
    key = list(key)
    return list({tuple(row[name] for name in key): row for row in rows}.values())


def _sources(rows: list[Row]) -> list[str]:
    """Returns where, when and by which commands rows were measured."""
    found = []
    for date, machine, device, versions in _unique(rows, "date", "machine", "device", "versions"):
        same = [
            r for r in rows if (r["date"], r["machine"], r["device"]) == (date, machine, device)
        ]
        commits = ", ".join(commit for (commit,) in _unique(same, "commit"))
        found.append(f"{date}, {machine}, {device}, {versions}; commit {commits}.")
    return list(dict.fromkeys(found))


def _section(subject: Subject, rows: list[Row]) -> list[str]:
    lines = [f"## {subject.title}", "", subject.text, ""]
    rows = _latest(rows, ["command", *subject.key])
    if subject.pivot:
        lines += subject.pivot(_latest(rows, subject.key))
    for (command,) in _unique(rows, "command"):
        same = [row for row in rows if row["command"] == command]
        lines += ["```", command, "```", "", *_sources(same), ""]
        if not subject.pivot:
            # A column that none of them fills is left out.
            columns = [name for name in same[0] if name not in FACTS and any(r[name] for r in same)]
            cells = ([shown(row[name]) for name in columns] for row in same)
            lines += table([name.replace("_", " ") for name in columns], cells)
    return lines


def _mean(rows: list[Row], name: str) -> float | None:
    values = [float(row[name]) for row in rows if row[name]]
    return float(stats.trim_mean(values, 0.25)) if values else None


def _outcome(rows: list[Row]) -> str:
    """Returns recovery rate / retention / steps to 90 % of the seeds of a robot and a method."""
    never = [row for row in rows if not row["steps_to_90"]]
    # A seed that never gets there counts with its whole budget.
    reached = [row | {"steps_to_90": row["steps_to_90"] or row["env_steps"]} for row in rows]
    steps = f"{(_mean(reached, 'steps_to_90') or 0.0) / 1e6:.2f}M"
    when = "never" if len(never) == len(rows) else f"{'≥ ' if never else ''}{steps}"
    rate, retention = _mean(rows, "recovery_rate"), _mean(rows, "retention")
    return " / ".join(["-" if x is None else f"{x:.2f}" for x in (rate, retention)] + [when])


def _pivot(rows: list[Row], cell: Callable[[list[Row]], str]) -> list[str]:
    methods = [method for (method,) in _unique(rows, "method")]
    body = []
    for (robot,) in _unique(rows, "robot"):
        of = [[r for r in rows if (r["robot"], r["method"]) == (robot, m)] for m in methods]
        body.append([robot, *(cell(part) if part else "" for part in of)])
    return table(["", *methods], body)


def _methods(rows: list[Row]) -> list[str]:
    def wide(part: list[Row]) -> str:
        return ", ".join(f"{float(row['wide']):.2f}" for row in part if row["wide"])

    first = "Recovery rate / retention / environment steps to 90 % recovery:"
    second = "Recovery rate from *wide* starts, by seed:"
    return [first, "", *_pivot(rows, _outcome), second, "", *_pivot(rows, wide)]


def _sweep(rows: list[Row]) -> list[str]:
    def cell(part: list[Row]) -> str:
        back = sum(float(row["recovery_rate"] or 0.0) > 0.5 for row in part)
        best = ", ".join(row["candidate"] for row in part if row["best"] == "best")
        return f"{back} of {len(part)}, {best}"

    return _pivot(rows, cell)


SUBJECTS = {
    "recovery": Subject(
        "Recovery",
        "LaMOuR with each robot's settings and the reward that ships. "
        "[results.md](../../docs/results.md) explains the columns. Other programs ran on the same "
        "machine: seconds are upper bounds.",
        ("robot", "method", "seed"),
    ),
    "methods": Subject(
        "Methods",
        "Every method in each robot's budget, interquartile means over seeds. ≥: a seed that "
        "never reached 90 % counts with its whole budget.",
        ("robot", "method", "seed"),
        _methods,
    ),
    "sweep": Subject(
        "Sweep",
        "Candidates that come back in more than half of the final episodes, of those tried, and "
        "the one found best. One seed (100) each.",
        ("robot", "method", "candidate"),
        _sweep,
    ),
    "originals": Subject(
        "Original policies",
        "Policies before recovery. Survival: the share of ordinary episodes without a fall. "
        "Success: the share that reaches the task's goal.",
        ("robot", "policy", "seed"),
    ),
    "throughput": Subject(
        "Throughput",
        "Environment steps per second: medians over the turns, and quartiles. `environment` is "
        "physics and environment, `acting` adds the policy, `training` adds learning. "
        "*training over this*: the median of the turns' ratios, and the quartiles.",
        ("robot", "num_envs", "engine", "subject"),
    ),
    "scaling": Subject(
        "Scaling",
        "Milliseconds per 1,000 environment steps: of physics and environment, with the policy, "
        "and with learning.",
        ("robot", "axis", "num_envs", "hidden_units", "devices"),
    ),
    "mjx_solver": Subject(
        "MJX solver",
        "A setting is solver iterations / line-search steps / contacts solved for, and the "
        "integrator if it is not the model's. Errors of the state against C MuJoCo after one and "
        "five control steps: median, 95 % and worst of the states. Speed is relative to the "
        "setting in use.",
        ("robot", "setting"),
    ),
}


def page(folder: Path = FOLDER) -> str:
    """Returns the page, made from the tables."""
    lines = [
        "# Measurements",
        "",
        "Made from the tables beside it by `python -m benchmarks.results`; do not edit it. What it",
        "means is in [docs/results.md](../../docs/results.md) and [docs/speed.md]"
        "(../../docs/speed.md).",
        "",
    ]
    lines += [f"- [{s.title}](#{_anchor(s.title)}): `{name}.csv`" for name, s in SUBJECTS.items()]
    lines.append("")
    for name, subject in SUBJECTS.items():
        lines += _section(subject, read(name, folder))
    return "\n".join(lines).rstrip() + "\n"


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def main(argv: list[str] | None = None) -> int:
    """Writes the page; returns the exit status."""
    summary = (__doc__ or "").partition("\n")[0]
    argparse.ArgumentParser("python -m benchmarks.results", description=summary).parse_args(argv)
    (FOLDER / "README.md").write_text(page(), encoding="utf-8")
    print(f"Written to {FOLDER / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
