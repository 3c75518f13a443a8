"""A finished run's folder that no training made: what a report is written from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

import envs
from envs import RecoveryEnv
from lamour_jax import policies
from lamour_jax.config import RunConfig
from lamour_jax.policies import originals
from lamour_jax.report import recordings
from lamour_jax.report.pictures import START, STILLS
from lamour_jax.robot_settings import preset
from lamour_jax.run.evaluation import Episodes, Recording
from tests import shipped

HOSTILE = '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned=1">&{{ 7*7 }}'
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00"
    b":~\x9bU\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"
)
CONFIG = dataclasses.replace(preset("half_cheetah", "recovery"), engine="mujoco", seed=3)
RECOVERED = (True, True, False, True)
STEPS = (40, 20, 1000, 60)
RETURNS = (900.0, 950.0, 0.0, 800.0)


def episodes(env: RecoveryEnv, seed: int = 0, moves: bool = True) -> Episodes:
    """Four episodes of 101 steps: the robot turns from its ood start to its ordinary one."""
    starts = env.starts()
    first, last = (np.atleast_2d(starts[name].qpos)[0] for name in ("ood", "ordinary"))
    noise = np.random.default_rng(seed).normal(0.0, 0.01, (len(STEPS), env.model.nq))
    share = np.linspace(0.0, 1.0 if moves else 0.0, 101)[:, None]
    qpos = (first + share * (last - first))[None] + noise[:, None]
    qpos[:, :, 0] += np.linspace(0.0, 500.0, 101)
    healthy = np.arange(101)[None] >= np.array(STEPS)[:, None]
    return Episodes(
        np.array(RECOVERED),
        np.array(RECOVERED),
        np.array(STEPS),
        np.array(RETURNS),
        np.array(RETURNS),
        recording=Recording(qpos, healthy, np.zeros((len(STEPS), env.model.nv))),
    )


def result(config: RunConfig = CONFIG) -> dict[str, Any]:
    """What `result.json` of such a run says."""
    ood = {
        "episodes": 4,
        "recovery_rate": 0.75,
        "recovery_rate_strict": 0.5,
        "median_steps_to_recovery": 40.0,
        "return": 662.5,
    }
    nothing = ood | {
        "recovery_rate": 0.0,
        "recovery_rate_strict": 0.0,
        "median_steps_to_recovery": None,
        "return": 0.0,
    }
    ordinary = ood | {"recovery_rate": 1.0, "return": 11_000.0}
    return {
        "env": config.env,
        "method": config.method,
        "engine": "mujoco",
        "device": "cpu (2 cores)",
        "seed": config.seed,
        "start": config.start,
        "env_steps": 1_998_848,
        "wall_seconds": 130.0,
        "episodes": 4,
        "recovery_rate": 0.75,
        "recovery_rate_interval": [0.194, 0.994],
        "distinct_episodes": 4,
        "recovery_rate_strict": 0.5,
        "median_steps_to_recovery": 40.0,
        "retention": 0.92,
        "reward_source": f"library/{config.env}",
        "reward_sha256": "ab" * 32,
        "versions": {"python": "3.11.7", "mujoco": "4.0.0"},
        "evaluations_before": {config.start: nothing, "ordinary": ordinary},
        "evaluations": {config.start: ood, "ordinary": ordinary, f"{config.start}, sampled": ood},
    }


def write(folder: Path, config: RunConfig = CONFIG, **changes: Any) -> Path:
    """Writes such a run's folder, the policy that ships in it; `changes` go into the result."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.to_yaml())
    (folder / "result.json").write_text(json.dumps(result(config) | changes))
    rows: list[dict[str, float]] = [
        {"env_steps": 4096 * (n + 1), "episode/return": 10.0 * n, "training/value_loss": 0.5**n}
        for n in range(20)
    ]
    for row in rows[4::5]:
        row |= {"eval/return": row["episode/return"], "eval/recovery_rate": 0.5}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "reward.py").write_text(shipped.source(config.env))
    report = {
        "passed": True,
        "score": 1.95,
        "findings": [{"check": "rising", "severity": "warning", "message": "It rises slowly."}],
        "numbers": {"rank_correlation": 0.97, "largest_reward": None},
    }
    (folder / "reward_report.json").write_text(json.dumps(report))
    env = envs.load(config.env, engine="mujoco")
    chosen = recordings.choose(episodes(env), episodes(env, moves=False))
    recordings.save(chosen, folder / recordings.FILE)
    for name in (START, STILLS):
        (folder / name).write_bytes(PNG)
    header, agent = originals.load(config.env)
    policies.save(folder / "policy.npz", header, agent)
    return folder


def write_generation(folder: Path, words: str) -> None:
    """Adds what a language model was asked, and replied: `words` everywhere."""
    for name in ("01-describe", "02-reason", "03-write", "04-repair"):
        attempt = folder / "generation" / name
        attempt.mkdir(parents=True)
        (attempt / "prompt.md").write_text(f"prompt of {name} {words}")
        (attempt / "reply.txt").write_text(f"reply of {name} {words}")
        (attempt / "reply.json").write_text(json.dumps({"model_version": words}))
        problem = words if name == "03-write" else None
        (attempt / "outcome.json").write_text(json.dumps({"error": problem}))
    (folder / "generation" / "01-describe" / "picture.png").write_bytes(PNG)
    (folder / "generation" / "04-result.json").write_text("{}")
