"""From a raw reply to the Python source in it, without a guess.

What is taken is taken whole. Source with a mistake in it is not cut until it parses: it goes on as
it stands, and the compiler says what is wrong in which line. Prose is cut only where it stands
outside of code fences and is not indented. What was chosen of several pieces is in the notes.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reward_codegen.choose import WANTED, choose, is_source, tree_of
from reward_codegen.errors import ExtractionError, shorten
from reward_codegen.fences import Block, blocks_between_tags, fenced_blocks
from reward_codegen.reading import decode
from reward_codegen.signatures import REQUIRED, check_signatures

_MAX_BLOCKS = 100
_MAX_DEPTH = 3  # of JSON in JSON and of fences in JSON

_AT_MARGIN = re.compile(rf"^(?:async +)?(?:def +)?(?:{'|'.join(REQUIRED)})\b *[(=]", re.MULTILINE)
_FUNCTION = re.compile(r"^(?:async +)?def +\w+ *\(", re.MULTILINE)
_THINKING = r"(think|thinking|thoughts?|reasoning)>"
_THOUGHTS_END = re.compile(f"</{_THINKING}", re.IGNORECASE)
_THOUGHTS_BEGIN = re.compile(f"^[ \t]*<{_THINKING}", re.IGNORECASE | re.MULTILINE)
_CODE_LINE = re.compile(
    r"""(?:from|import|def|class|async|if|elif|else|for|while|try|except|finally|with|match|case
    |return|raise|assert|del|pass|global|nonlocal)\b      # a statement
    |[@"'()\[\]{}]                                        # a decorator, a string, an expression
    |[A-Za-z_][\w.]*(?:\(|\[|\s*(?::\s*\S+\s*)?[-+*/%@&|^<>]{0,2}=|:\s*\S+\s*$|\s*$)""",
    re.VERBOSE,
)
_SENTENCE_END = tuple(".:!?)*\u2026\u3002\uff1a\uff01\uff1f")


@dataclass(frozen=True)
class Extraction:
    """The source found, and what had to be done to find it."""

    source: str
    notes: tuple[str, ...] = ()


def extract(reply: str | bytes) -> Extraction:
    """The Python source in a model's reply or in a file.

    Understands plain source, fenced blocks with prose around them, JSON (also of tool calls and
    notebooks), tags, thoughts before the answer, byte-order marks and any line ends. The time is
    linear in the length of the reply.

    Raises:
        ExtractionError: the reply is empty, not text, or holds no code.
        RewardCodeError: the code does not define the two functions as they will be called.
    """
    extraction = _found(decode(reply))
    tree = tree_of(extraction.source)
    if tree is not None:  # else the compiler will say where it is no Python
        check_signatures(tree)
        names = [part.name for part in tree.body if isinstance(part, ast.FunctionDef)]
        twice = [f"of {name} the last version counts" for name in REQUIRED if names.count(name) > 1]
        extraction = replace(extraction, notes=(*extraction.notes, *twice))
    return extraction


def _found(text: str) -> Extraction:
    if not text.strip():
        raise ExtractionError(f"the reply is empty; {WANTED}")
    if is_source(text):
        return Extraction(text)
    text, notes = _answer(text)
    if is_source(text):
        return Extraction(text, notes)
    blocks, how = _blocks(text)
    if len(blocks) > _MAX_BLOCKS:
        raise ExtractionError(
            f"the reply holds {len(blocks):,} code blocks, more than the {_MAX_BLOCKS} admitted; "
            + WANTED
        )
    if blocks:
        source, chosen = choose(blocks)
        if blocks[-1].open and blocks[-1].source in source:
            chosen = (*chosen, "the last code fence is not closed; the reply may be cut off")
    else:
        source, chosen = _without_prose(text)
    return Extraction(source, (*notes, *how, *chosen))


def _answer(text: str) -> tuple[str, tuple[str, ...]]:
    """What follows a model's thoughts, where it shows them."""
    end = max((match.end() for match in _THOUGHTS_END.finditer(text)), default=0)
    begun = next(_THOUGHTS_BEGIN.finditer(text, end), None)
    if begun is not None and not text[end : begun.start()].strip():
        raise ExtractionError(
            f"the thoughts of the reply do not end (no </{begun.group(1)}>), so it holds no "
            f"answer; {WANTED}"
        )
    if not end:
        return text, ()
    if not text[end:].strip():
        raise ExtractionError(f"nothing follows the thoughts of the reply; {WANTED}")
    return text[end:], ("the thoughts before the answer were left out",)


# Pieces of a reply ------------------------------------------------------------------------------


def _blocks(text: str, depth: int = 0) -> tuple[list[Block], tuple[str, ...]]:
    """The pieces of code in a text, and where they stood; none if its source stands bare."""
    document = _json(text)
    if document is not None:
        return _json_blocks(document, depth), ("the source was wrapped in JSON",)
    fenced, outside = fenced_blocks(text)
    tagged = blocks_between_tags(text)
    for blocks in (fenced, tagged):
        if any(_AT_MARGIN.search(block.source) for block in blocks):
            return blocks, ()
    if _AT_MARGIN.search(outside):
        return [], ()  # fences and tags stand in its docstrings
    found = [inner for block in fenced for inner in _opened(block, depth)] or tagged
    if not found and (document := _json(text[text.find("{") :])) is not None:
        return _json_blocks(document, depth), ("the source was wrapped in JSON",)
    return found, ()


def _opened(block: Block, depth: int) -> list[Block]:
    """A block, or the blocks in it where it holds JSON or another reply."""
    if depth < _MAX_DEPTH and not is_source(block.source):
        document = _json(block.source)
        if document is not None:
            return _json_blocks(document, depth)
        if block.tag in ("markdown", "md"):
            return fenced_blocks(block.source)[0] or [block]
    return [block]


def _json(text: str) -> object | None:
    """The JSON document that a text begins with, where there is one that may hold code."""
    stripped = text.strip()
    if stripped[:1] not in ('"', "{", "[") or "def " not in text:
        return None
    try:
        return json.JSONDecoder(strict=False).raw_decode(stripped)[0]
    except (ValueError, RecursionError):
        return None


def _json_blocks(document: object, depth: int) -> list[Block]:
    """The code in the strings of a document, in their order; of a notebook all its cells."""
    if isinstance(document, dict) and isinstance(document.get("cells"), list):
        cells = [cell for cell in document["cells"] if isinstance(cell, dict)]
        code = [_lines(c.get("source")) for c in cells if c.get("cell_type") == "code"]
        return [Block("\n".join(code) + "\n")]
    found: list[Block] = []
    for string in _strings(document):
        if "def " in string:
            inner = _blocks(string, depth + 1)[0] if depth < _MAX_DEPTH else []
            found += inner or ([Block(string)] if _FUNCTION.search(string) else [])
    return found


def _strings(document: object) -> Iterator[str]:
    """All strings of a document in their order; a list of lines is one string."""
    pending = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending.extend(reversed(item.values()))
        elif isinstance(item, list):
            if item and all(isinstance(line, str) for line in item):
                yield _lines(item)
            else:
                pending.extend(reversed(item))


def _lines(source: object) -> str:
    if isinstance(source, list):
        lines = [str(line) for line in source]
        return ("" if lines and lines[0].endswith("\n") else "\n").join(lines)
    return source if isinstance(source, str) else ""


# Source without a fence -------------------------------------------------------------------------


def _without_prose(text: str) -> tuple[str, tuple[str, ...]]:
    """Source that stands bare: without the lines of prose before and after it."""
    lines = text.split("\n")
    first = _prose(lines)
    last = len(lines) - _prose(lines[:first:-1])
    source = "\n".join(lines[first:last]) + "\n"
    if not _AT_MARGIN.search(source) and not _FUNCTION.search(source):
        raise ExtractionError(f"the reply holds no Python code ({_seen(text)}); {WANTED}")
    note = "the source stood in the reply without a code fence"
    return source, (note,) if len("".join(lines)) > len(source) else ()


def _prose(lines: list[str]) -> int:
    """How many of the first lines are prose, with comments and empty lines between them."""
    count = 0
    for number, line in enumerate(lines, 1):
        if _is_prose(line):
            count = number
        elif line.strip() and not line.startswith("#"):
            break
    return count


def _is_prose(line: str) -> bool:
    """Whether a line can only be prose: not indented, no beginning of a statement, a sentence."""
    if not line.strip() or line[0] in " \t#" or _CODE_LINE.match(line):
        return False
    return len(line.split()) > 2 or line.rstrip().endswith(_SENTENCE_END)


def _seen(text: str) -> str:
    stripped = text.strip()
    if stripped[0] in "{[":
        try:
            json.loads(stripped, strict=False)
        except json.JSONDecodeError as error:
            return f"it begins like JSON, but {error.msg.lower()} in line {error.lineno}"
        except RecursionError:
            pass
    return f"it begins {shorten(text, 60)!r}"
