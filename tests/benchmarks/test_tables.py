"""The page of results is the one that its CSV files give."""

from __future__ import annotations

from benchmarks import tables


def test_the_page_is_made_of_the_csv_files() -> None:
    kept = (tables.RESULTS / "README.md").read_text(encoding="utf-8")
    assert kept == tables.page(), "run python -m benchmarks.tables"
    assert {path.stem for path in tables.RESULTS.glob("*.csv")} == set(tables.SUBJECTS)
