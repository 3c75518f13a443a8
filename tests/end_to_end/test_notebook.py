"""The notebook runs from its first cell to its last, with the smallest settings."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = REPOSITORY / "notebooks" / "recovery.ipynb"
TINY = (
    "--engine mujoco --num-envs 8 --steps 512 --set ppo.unroll_length=32 "
    "--set ppo.minibatch_size=128 --set evaluation.during_training=1 --set evaluation.episodes=2 "
    "--set evaluation.episodes_during_training=2 --log none"
)


def test_no_outputs_are_committed() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("LAMOUR_OPTIONS", TINY)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    run = tmp_path / "runs" / "notebook-half_cheetah"
    assert (run / "result.json").exists()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in shown if output.output_type == "error"]
    pictures = [output for output in shown if "image/png" in output.get("data", {})]
    assert len(pictures) == 1
    texts = "".join(output.get("data", {}).get("text/markdown", "") for output in shown)
    assert (run / "reward.py").read_text() in texts
    assert "| ood | " in texts
    printed = "".join(output.get("text", "") for output in shown)
    assert "verification" in printed or "passed" in printed
