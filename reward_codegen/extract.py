"""From a raw reply to the Python source in it."""

import ast
import json
import re
import warnings
from dataclasses import dataclass

from reward_codegen.budget import MAX_REPLY_CHARACTERS, MAX_SOURCE_CHARACTERS
from reward_codegen.errors import ExtractionError, shorten

REQUIRED = ("is_recovered", "calculate_reward")

_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})[ \t]*([^\n`]*)$")
_TAG = re.compile(r"<(code|pre|python|answer)\b[^<>]{0,200}>", re.IGNORECASE)
_CODE_START = re.compile(r"^(from\s+\w|import\s+\w|def\s+\w|@\w|class\s+\w|[A-Za-z_]\w*\s*(:.*)?=)")
_MAX_PARSES = 200  # attempts at finding the ends of code that stands bare in prose
_MAX_PARSED = 500_000  # characters parsed in these attempts
_MAX_BLOCKS = 100


@dataclass(frozen=True)
class Extraction:
    """The source found, and what had to be done to find it."""

    source: str
    notes: tuple[str, ...] = ()


def extract(reply: str | bytes) -> Extraction:
    """The Python source in a model's reply.

    Understands plain source, fenced blocks with prose around them, JSON wrapping, tags, byte-order
    marks and any line endings. Of several blocks those are taken that define the two functions and
    what they need; usage examples are left out.

    Raises:
        ExtractionError: the reply is empty, not text, or holds no code.
    """
    text = _normalise(_decode(reply))
    if not text.strip():
        raise ExtractionError(
            "the reply is empty; reply with Python source that defines "
            "is_recovered(state) and calculate_reward(state, action)"
        )
    if _parse(text) is not None and _defines(text) & set(REQUIRED):
        return Extraction(text)

    unwrapped = _from_json(text)
    if unwrapped is not None:
        inner = extract(unwrapped)
        return Extraction(inner.source, ("the source was wrapped in JSON", *inner.notes))

    blocks, unclosed = _fenced_blocks(text)
    if not blocks:
        blocks = _tagged_blocks(text)
    if len(blocks) > _MAX_BLOCKS:
        raise ExtractionError(
            f"the reply holds {len(blocks):,} code blocks, more than the {_MAX_BLOCKS} admitted; "
            "reply with one ```python block"
        )
    if blocks:
        for block in blocks:
            inner_json = _from_json(block)
            if inner_json is not None:
                return extract(inner_json)
        source, notes = _choose(blocks)
        if unclosed:
            notes = (*notes, "the last code fence is not closed; the reply may be cut off")
        return Extraction(source, notes)

    bare = _bare_code(text)
    if bare is not None:
        return Extraction(bare, ("the source stood in the reply without a code fence",))
    raise ExtractionError(
        f"the reply holds no Python code (it begins {shorten(text, 60)!r}); reply with one "
        "```python block that defines is_recovered(state) and calculate_reward(state, action)"
    )


def _decode(reply: str | bytes) -> str:
    if isinstance(reply, str):
        text = reply
    elif isinstance(reply, bytes):
        encoding = "utf-16" if reply[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        try:
            text = reply[: 4 * MAX_REPLY_CHARACTERS + 4].decode(encoding)
        except UnicodeDecodeError as error:
            raise ExtractionError(
                f"the reply is not {encoding.removesuffix('-sig')} text (byte {error.start})"
            ) from None
    else:
        raise ExtractionError(f"the reply is not text but {type(reply).__name__}")
    if len(text) > MAX_REPLY_CHARACTERS:
        raise ExtractionError(
            f"the reply has {len(text):,} characters, more than the {MAX_REPLY_CHARACTERS:,} "
            "admitted; reply with two short functions"
        )
    return text


def _normalise(text: str) -> str:
    """Line feeds only, as Python's own tokeniser reads line ends; no byte-order mark."""
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _parse(source: str) -> ast.Module | None:
    if len(source) > MAX_SOURCE_CHARACTERS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _from_json(text: str) -> str | None:
    """The code inside a JSON document: its longest string, or list of lines, with a `def`."""
    stripped = text.strip()
    if stripped[:1] not in ('"', "{", "["):
        return None
    try:
        document = json.loads(stripped, strict=False)
    except (ValueError, RecursionError):
        return None
    found: list[str] = []
    pending = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            if item and all(isinstance(line, str) for line in item):
                separator = "" if item[0].endswith("\n") else "\n"
                found.append(separator.join(item))
            else:
                pending.extend(item)
    code = [string for string in found if re.search(r"\bdef\s+\w+\s*\(", string)]
    if not code:
        return None
    whole = [string for string in code if all(name in string for name in REQUIRED)]
    return max(whole, key=len) if whole else "\n\n".join(reversed(code))


def _fenced_blocks(text: str) -> tuple[list[str], bool]:
    """The contents of all fenced blocks, and whether the last one is never closed."""
    blocks: list[str] = []
    current: list[str] | None = None
    marker = ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if current is None:
            if match:
                marker, current = match.group(1), []
        elif match and match.group(1).startswith(marker) and not match.group(2).strip():
            blocks.append(_dedent("\n".join(current)))
            current = None
        else:
            current.append(line)
    if current is not None:
        blocks.append(_dedent("\n".join(current)))
    return [block for block in blocks if block.strip()], current is not None


def _tagged_blocks(text: str) -> list[str]:
    """What stands between tags such as <code> and </code>."""
    blocks: list[str] = []
    lower = text.lower()
    place = 0
    while (opening := _TAG.search(text, place)) is not None:
        end = lower.find(f"</{opening.group(1).lower()}>", opening.end())
        if end < 0:
            break
        blocks.append(_dedent(text[opening.end() : end]))
        place = end
    return blocks


def _dedent(block: str) -> str:
    """A block without the indentation or quote marks that its surroundings gave it."""
    lines = block.split("\n")
    full = [line for line in lines if line.strip()]
    if full and all(line.lstrip().startswith(">") for line in full):
        lines = [re.sub(r"^\s*> ?", "", line) for line in lines]
        full = [line for line in lines if line.strip()]
    margin = min((len(line) - len(line.lstrip(" \t")) for line in full), default=0)
    return "\n".join(line[margin:] for line in lines) + "\n"


def _defines(source: str) -> set[str]:
    """The names that a block binds at its top level."""
    tree = _parse(source)
    if tree is None:
        return set(re.findall(r"^(?:async\s+)?def\s+(\w+)", source, re.MULTILINE))
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names.update((a.asname or a.name).split(".")[0] for a in statement.names)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            names.update(
                node.id
                for node in ast.walk(statement)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            )
    return names


def _needs(source: str) -> set[str]:
    """The names that a block uses and does not bind anywhere itself."""
    tree = _parse(source)
    if tree is None:
        return set()
    used: set[str] = set()
    bound = _defines(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef):
            bound.add(node.name)
    return used - bound


def _choose(blocks: list[str]) -> tuple[str, tuple[str, ...]]:
    """The last block that defines both functions, with the earlier blocks it needs names from."""
    if len(blocks) == 1:
        return blocks[0], ()
    provided = [_defines(block) for block in blocks]
    needed = [_needs(block) for block in blocks]
    wanted = set(REQUIRED)
    chosen: set[int] = set()
    whole = [index for index, names in enumerate(provided) if wanted <= names]
    if whole:
        chosen.add(whole[-1])
    while True:
        have = set().union(*(provided[index] for index in chosen))
        wanted |= set().union(*(needed[index] for index in chosen))
        helpful = [
            index
            for index, names in enumerate(provided)
            if index not in chosen and names & (wanted - have)
        ]
        if not helpful:
            break
        chosen.add(helpful[-1])
    if not chosen:
        return "\n".join(blocks), (f"{len(blocks)} code blocks were joined",)
    note = f"{len(chosen)} of {len(blocks)} code blocks were used"
    return "\n".join(blocks[index] for index in sorted(chosen)), (note,)


def _bare_code(text: str) -> str | None:
    """Code that stands in prose without a fence: the longest run of lines that is Python."""
    lines = _dedent(text).split("\n")
    code = "\n".join(lines)
    named = {name for name in REQUIRED if re.search(rf"^def\s+{name}\b", code, re.MULTILINE)}
    starts = [index for index, line in enumerate(lines) if _CODE_START.match(line)]
    if not named or not starts:
        return None
    ends = [
        index + 1
        for index in range(len(lines) - 1, -1, -1)
        if lines[index].startswith((" ", "\t")) and lines[index].strip()
    ]
    parses = parsed = 0
    for start in starts[:_MAX_PARSES]:
        for end in [len(lines), *ends]:
            if end <= start or parses >= _MAX_PARSES or parsed > _MAX_PARSED:
                break
            source = "\n".join(lines[start:end]) + "\n"
            parses += 1
            parsed += min(len(source), MAX_SOURCE_CHARACTERS)
            if _parse(source) is not None and named <= _defines(source):
                return source
    # It is code that does not parse: as it stands, so that its lines keep their numbers.
    before = "".join(lines[: starts[0]]).strip()
    return code if not before else "\n".join(lines[starts[0] :])
