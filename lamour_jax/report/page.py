"""`report.html`: a run on one page that needs nothing but itself, and asks the network nothing.

Texts that a language model or a user wrote are escaped by the template; the page's policy for
content (CSP) lets no script run but the two that are inlined here, and no request leave.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from scipy import stats

from envs import RecoveryEnv
from lamour_jax.command import command
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.files import write_text
from lamour_jax.report import recordings
from lamour_jax.report.curves import panels
from lamour_jax.report.pictures import START, STILLS
from lamour_jax.report.replay import replay
from lamour_jax.run.folder import read_metrics

FILE = "report.html"

_NOTHING = "\N{EN DASH}"  # in the place of a number that is not there
_LONGEST_TEXT = 40_000  # characters of one reply or prompt
_LARGEST_PICTURE = 1_000_000  # bytes
_PNG = b"\x89PNG\r\n\x1a\n"
_STEPS = {
    "describe": "What it said of the picture",
    "reason": "What it wants the robot to learn",
    "write": "What it wrote",
    "repair": "What it wrote after being told the problem",
}


def recovery_interval(recovered: int, episodes: int) -> tuple[float, float]:
    """Returns the 95 % interval of a rate by Clopper and Pearson (1934), which is never too short.

    Raises:
        ValueError: there are no episodes, or fewer than recovered.
    """
    interval = stats.binomtest(recovered, episodes).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def write_page(folder: Path, config: RunConfig, result: dict[str, Any], env: RecoveryEnv) -> None:
    """Writes `report.html` from what a recovery run left in its folder.

    Args:
        folder: of the run; what is missing in it is said on the page.
        config: the run's settings.
        result: content of its `result.json`.
        env: the robot, for its shapes and times.

    Raises:
        OSError: the page cannot be written.
    """
    write_text(folder / FILE, _page(folder, config, result, env))


def _page(folder: Path, config: RunConfig, result: dict[str, Any], env: RecoveryEnv) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "rate": _rate, "percent": _percent}
    episodes = _episodes(folder)
    rows = read_metrics(folder)
    scripts = [_asset("three.min.js"), _asset("replay.js")] if episodes else []
    dark, light = (panels(rows, dark) if rows else {} for dark in (True, False))
    return environment.get_template("page.html").render(
        config=config,
        settings=config.to_yaml(),
        command=command(config),
        result=result,
        rates=_rates(result),
        table=_table(result),
        seconds=env.control_timestep,
        task=env.original_task,
        start=_picture(folder / START),
        stills=_picture(folder / STILLS),
        curves=[(title, _svg(light[title]), _svg(dark[title])) for title in light],
        attempts=_attempts(folder / "generation"),
        reward=_text(folder / "reward.py"),
        findings=_json(folder / "reward_report.json"),
        episodes=episodes,
        first=next((i for i, episode in enumerate(episodes) if "median" in episode.names), 0),
        replay=_for_script(replay(env.model, env.control_timestep, episodes)),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
    )


def _asset(name: str) -> str:
    return (resources.files("lamour_jax") / "web" / name).read_text(encoding="utf-8")


def _rates(result: dict[str, Any]) -> dict[str, Any]:
    """The verdict's numbers: how many episodes came back, of how many, before and after."""
    evaluations, before = result["evaluations"], result["evaluations_before"]
    start = result["start"]
    return {
        "start": start,
        "episodes": evaluations[start]["episodes"],
        "recovered": _count(evaluations[start]),
        "interval": result["recovery_rate_interval"],
        "before_episodes": before[start]["episodes"],
        "before": _count(before[start]),
    }


def _count(evaluation: dict[str, Any]) -> int:
    return round(evaluation["recovery_rate"] * evaluation["episodes"])


def _table(result: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each evaluation: its name, the original policy's numbers, the recovered one's."""
    before = result["evaluations_before"]
    rows = []
    for name, after in result["evaluations"].items():
        distinct = name != result["start"] or result["distinct_episodes"] > 1
        interval = recovery_interval(_count(after), after["episodes"]) if distinct else None
        rows.append(
            {"name": name, "before": before.get(name), "after": after, "interval": interval}
        )
    return rows


def _episodes(folder: Path) -> list[recordings.RecordedEpisode]:
    try:
        return recordings.load(folder / recordings.FILE)
    except UserError:
        return []


def _attempts(folder: Path) -> list[dict[str, Any]]:
    """What was asked of a language model and what it replied, in order."""
    attempts = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        number, _, stage = entry.name.partition("-")
        if not entry.is_dir() or not number.isdigit():
            continue
        outcome, reply = _json(entry / "outcome.json"), _json(entry / "reply.json")
        attempts.append(
            {
                "title": _STEPS.get(stage, stage),
                "name": entry.name,
                "picture": _picture(entry / "picture.png"),
                "prompt": _text(entry / "prompt.md"),
                "reply": _text(entry / "reply.txt"),
                "model": reply.get("model_version"),
                "cached": reply.get("from_cache"),
                "problem": outcome.get("error"),
            }
        )
    return attempts


def _text(file: Path) -> str | None:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if len(text) > _LONGEST_TEXT:
        left_out = len(text) - _LONGEST_TEXT
        return f"{text[:_LONGEST_TEXT]}\n[... {left_out:,} more characters in {file.name}]"
    return text


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _picture(file: Path) -> str | None:
    """A PNG as a data URL; nothing else passes for one."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    if not content.startswith(_PNG) or len(content) > _LARGEST_PICTURE:
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _svg(text: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"


def _for_script(content: dict[str, Any]) -> str:
    """JSON that stays data inside a script element, whatever its texts say."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _number(value: Any, digits: int = 0) -> str:
    return f"{value:,.{digits}f}" if _finite(value) else _NOTHING


def _rate(value: Any) -> str:
    return _number(value, 2)


def _percent(value: Any) -> str:
    """A share in per cent; a decimal where rounding would make it 0 or 100."""
    if not _finite(value):
        return _NOTHING
    percent = 100.0 * value
    rounds_away = 0.0 < percent < 1.0 or 99.0 < percent < 100.0
    return f"{percent:.{1 if rounds_away else 0}f} %"
