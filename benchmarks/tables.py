"""Writes benchmarks/results/README.md from the CSV files beside it: `python -m benchmarks.tables`.

A CSV file holds one subject in long form: a line is one measure of one row of the table, with the
machine, date, versions, commit and command that it came from.
"""

from __future__ import annotations

import csv
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ORIGIN = ("machine", "date", "versions", "commit", "command")

# Name of the CSV file: heading and what the numbers are.
SUBJECTS = {
    "recovery": (
        "Recovery",
        "The robots' own settings, official start. Rates are shares of episodes; retention is a "
        "ratio of returns from ordinary starts. Other trainings ran beside these, so wall times "
        "are upper bounds.",
    ),
    "methods": (
        "Methods",
        "Every method with the same budget. No value under *steps to 90 %*: never. SeRO's "
        "retention is that of its own original policy.",
    ),
    "sweep": (
        "Sweep",
        "Half of each robot's budget, seed 100, 8 episodes. *Best* names the candidate chosen.",
    ),
    "originals": (
        "Original policies",
        "Training of the original policies, seed 0. Wall times are upper bounds.",
    ),
    "throughput": (
        "Throughput",
        "Environment steps per second, median of the turns. The machine was not idle: use the "
        "ratios, not the rates.",
    ),
    "rivals": (
        "Throughput against others",
        "Environment steps per second, median of the turns. A ratio above 1 means that our "
        "training is faster. EnvPool steps its environment alone.",
    ),
    "scaling": (
        "Scaling",
        "half_cheetah, milliseconds per 1,000 environment steps.",
    ),
    "xla_threads": (
        "Threads of XLA",
        "Environment steps per second with 64 environments. `NPROC` is the number of XLA's "
        "threads.",
    ),
    "mjx_solver": (
        "MJX solver",
        "Iterations / line-search steps / contacts. Relative error of a state after one control "
        "step against C MuJoCo, and speed relative to the setting in use.",
    ),
    "reward_cost": (
        "Cost of a compiled reward",
        "A compiled library program against the same program written by hand.",
    ),
    "gpu_sizes": (
        "A GPU's batch sizes",
        "The sizes that docs/gpu.md gives, tried with C MuJoCo on a CPU.",
    ),
}


def table(rows: list[list[str]]) -> str:
    """Returns a Markdown table; the first row is its head."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section(subject: str, folder: Path = RESULTS) -> str:
    """Returns the page's section of one subject: its numbers, then where each comes from."""
    title, words = SUBJECTS[subject]
    with (folder / f"{subject}.csv").open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    measures = list(dict.fromkeys(record["measure"] for record in records))
    origins = list(dict.fromkeys(tuple(record[key] for key in ORIGIN) for record in records))
    values: dict[str, dict[str, str]] = {}
    for record in records:
        row = values.setdefault(record["row"], {})
        row[record["measure"]] = record["value"]
        row["origin"] = str(1 + origins.index(tuple(record[key] for key in ORIGIN)))
    numbers = [["", *measures, "run"]] + [
        [name, *(row.get(measure, "") for measure in measures), row["origin"]]
        for name, row in values.items()
    ]
    runs = [["run", *ORIGIN]] + [
        [str(number), *origin[:-1], f"`{origin[-1]}`"] for number, origin in enumerate(origins, 1)
    ]
    return f"## {title}\n\n{words}\n\n{table(numbers)}\n\n{table(runs)}\n"


def page(folder: Path = RESULTS) -> str:
    """Returns the whole page as Markdown."""
    head = (
        "# Measured results\n\n"
        "`python -m benchmarks.tables` writes this page from the CSV files beside it. The column "
        "*run* names the line of the second table: machine, date, versions, commit and command.\n"
    )
    return "\n".join([head, *(section(subject, folder) for subject in SUBJECTS)])


def main() -> None:
    """Writes the page."""
    (RESULTS / "README.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
