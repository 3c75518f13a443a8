"""From run folders to `results.csv` and a page that needs nothing but itself."""

from __future__ import annotations

import csv
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks import summary as aggregates
from benchmarks.grid import GridRun, all_runs
from benchmarks.page import render_page
from benchmarks.records import MEASURES, Record, read_record, write_csv
from benchmarks.summary import Summary, summarise
from tests.benchmarks.made_up import BUDGET, learning_curve, write_run

METHODS = ["lamour", "sero", "zero"]
GRID: dict[str, Any] = {
    "configs": {"ant/lamour": {"steps": BUDGET}},
    "invocations": [
        {"command": "python -m benchmarks.recovery --seeds 3", "date": "2026-11-21", "machine": {}}
    ],
}


@pytest.fixture(autouse=True)
def few_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "_REPETITIONS", 30)


def make_records(path: Path, envs: list[str], seeds: int) -> list[Record]:
    """A grid in which ours recovers at once, sero late and zero never."""
    records = []
    for run in all_runs(path, envs, METHODS, list(range(seeds))):
        half_way = {"lamour": 0.3, "sero": 0.7, "zero": 3.0}[run.method]
        write_run(run, learning_curve(1.0, half_way, run.seed))
        records.append(read_record(run))
    return records


def page(records: list[Record]) -> tuple[str, Summary]:
    summary = summarise(records)
    return render_page(summary, records, GRID), summary


class Checker(HTMLParser):
    """Collects what is wrong with the page's structure, and what it would load."""

    VOID = ("meta", "br", "path", "circle", "polyline", "polygon")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href")]
        assert tag not in ("script", "link", "img", "iframe")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def check(html: str) -> None:
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert checker.loaded == []
    assert "url(" not in html and "@import" not in html and "http" not in html
    numbers = re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)
    assert not re.search(r"\bnan\b|\binf\b|\$\{", numbers, flags=re.IGNORECASE)


def test_page_of_a_whole_grid(tmp_path: Path) -> None:
    html, summary = page(make_records(tmp_path, ["ant", "hopper"], seeds=3))
    check(html)
    for shown in ("ant", "hopper", *METHODS, "18 of 18 runs", "abab", "is_recovered"):
        assert shown in html, shown
    assert "python -m benchmarks.recovery --seeds 3" in html
    # Both robots at a glance, four charts of each.
    assert html.count("<svg") == 2 + 2 * 4
    assert html.count("never at 90 %") == 2
    # Recovered at the end, and timed where it got there for good.
    ours = summary.cells["ant", "lamour"]
    assert ours.reached == 3
    assert ours.estimates["steps_to_90"].value < BUDGET
    assert summary.cells["ant", "zero"].reached == 0
    assert "not reached" in html
    assert [claim.holds for claim in summary.claims["ant"]] == [True] * 4
    assert summary.improvement[None]["zero"]["recovery_rate"].value == 1.0
    assert set(summary.overall) == set(METHODS)


def test_claims_that_do_not_come_out_are_said(tmp_path: Path) -> None:
    records = []
    for run in all_runs(tmp_path, ["ant"], ["lamour", "env"], [0, 1]):
        late = run.method == "lamour"
        write_run(run, [0.0, 0.5, 0.92] if late else [0.0, 0.95, 0.95], 0.5 if late else 0.9)
        records.append(read_record(run))
    html, summary = page(records)
    assert [claim.holds for claim in summary.claims["ant"]] == [False, False, False]
    assert html.count("✗") == 3


def test_one_seed(tmp_path: Path) -> None:
    html, summary = page(make_records(tmp_path, ["ant"], seeds=1))
    check(html)
    assert "With a single seed there are no intervals" in html
    assert "<polygon" not in html
    assert not summary.cells["ant", "lamour"].estimates["recovery_rate"].has_interval


def test_failed_and_missing_runs_are_named(tmp_path: Path) -> None:
    records = make_records(tmp_path, ["ant"], seeds=2)
    missing = GridRun("ant", "lamour", 7, tmp_path / "nowhere" / "seed_7")
    failed = GridRun("ant", "env", 0, tmp_path / "nowhere" / "either")
    records += [read_record(missing), read_record(failed, "MemoryError: <too> much & more")]
    html, _ = page(records)
    check(html)
    assert "ant/lamour/seed_7" in html and "unfinished" in html
    assert "MemoryError: &lt;too&gt; much &amp; more" in html
    assert "2 of 3" in html


def test_nothing_finished(tmp_path: Path) -> None:
    runs = all_runs(tmp_path, ["ant", "hopper"], METHODS, [0])
    html, _ = page([read_record(run) for run in runs])
    check(html)
    assert "0 of 6 runs" in html


def test_numbers_that_were_not_measured(tmp_path: Path) -> None:
    records = []
    for run in all_runs(tmp_path, ["ant"], METHODS, [0, 1]):
        write_run(run, [0.1, None, None], retention=None)
        records.append(read_record(run))
    html, summary = page(records)
    check(html)
    assert math.isnan(summary.cells["ant", "lamour"].estimates["retention"].value)


def test_without_ours_nothing_is_compared(tmp_path: Path) -> None:
    records = [r for r in make_records(tmp_path, ["ant"], 2) if r.run.method != "lamour"]
    html, summary = page(records)
    check(html)
    assert summary.improvement == {}
    assert "has no runs of lamour" in html


def test_a_method_of_ones_own_has_a_colour(tmp_path: Path) -> None:
    run = GridRun("ant", "mine", 0, tmp_path / "run")
    write_run(run, [0.5, 0.9])
    html, _ = page([read_record(run)])
    check(html)
    assert html.count("--mine:") == 2


@pytest.mark.parametrize(
    ("rates", "first"),
    [
        ([0.0, 0.9, 1.0, 0.95], 1),
        ([0.95, 0.5, 0.92, 0.93], 2),
        ([1.0, 1.0, 1.0, 0.89], None),
        ([0.95, 0.95, 0.95, 0.95], 0),
        ([0.95, None, 0.95, 0.95], 2),
    ],
)
def test_ninety_percent_counts_when_it_lasts(
    rates: list[float | None], first: int | None, tmp_path: Path
) -> None:
    run = GridRun("ant", "lamour", 0, tmp_path / "run")
    write_run(run, rates, seconds=80.0)
    measures = read_record(run).measures
    if first is None:
        assert math.isnan(measures["steps_to_90"])
    else:
        assert measures["steps_to_90"] == (first + 1) / 4 * BUDGET
        assert measures["wall_seconds_to_90"] == (first + 1) / 4 * 80.0


def test_csv_has_a_row_a_run(tmp_path: Path) -> None:
    records = make_records(tmp_path, ["ant"], seeds=2)
    records.append(read_record(GridRun("ant", "env", 0, tmp_path / "none"), 'it, said "no"'))
    write_csv(records, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert set(MEASURES) < set(rows[0])
    assert (rows[0]["env"], rows[0]["method"], rows[0]["seed"]) == ("ant", "lamour", "0")
    assert float(rows[0]["recovery_rate"]) == records[0].measures["recovery_rate"]
    assert rows[0]["reward_sha256"] == "ab" * 32
    assert rows[-1]["status"] == "failed"
    assert rows[-1]["error"] == 'it, said "no"'
    assert rows[-1]["recovery_rate"] == ""


def test_a_broken_result_is_no_result(tmp_path: Path) -> None:
    run = GridRun("ant", "lamour", 0, tmp_path / "run")
    write_run(run, [0.5])
    file = run.folder / "result.json"
    file.write_text(file.read_text()[:-20])
    assert read_record(run).status == "unfinished"


def test_a_half_written_row_is_left_out(tmp_path: Path) -> None:
    run = GridRun("ant", "lamour", 0, tmp_path / "run")
    write_run(run, [0.5, 0.95])
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"env_steps": 30')
    assert len(run.metrics()) == 2
