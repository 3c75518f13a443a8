"""Blocks of code in a reply: between code fences, and between tags."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Possessive quantifiers keep these linear, whatever the line.
_OPENING = re.compile(r"[ \t>]*+(`{3,}+|~{3,}+)[ \t]*+([^`\n]*+)")
_GLUED = re.compile(r"[^`\n]++(`{3,}+)[ \t]*+(python|py)[ \t]*+", re.IGNORECASE)
_QUOTE = re.compile(r'"""|\'\'\'|"(?:\\.|[^"\\])*+"?|\'(?:\\.|[^\'\\])*+\'?|#.*')
_END = {quote: re.compile(rf"(?:\\.|(?!{quote}).)*+{quote}") for quote in ('"""', "'''")}
_PYTHON = ("", "python", "python3", "py", "py3", "jax", "numpy")
_TAG = re.compile(
    r"<(?P<tag>code|pre|python|answer)\b[^<>]{0,200}>|\\begin\{(?P<tex>lstlisting|verbatim)\}"
    r"(?:\[[^\]\n]{0,200}\])?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Block:
    """A piece of code, the tag of its fence in small letters, and whether nothing closes it."""

    source: str
    tag: str = ""
    open: bool = False


def fenced_blocks(text: str) -> tuple[list[Block], str]:
    """The fenced blocks of a text, and what stands outside of them."""
    lines = text.split("\n")
    blocks: list[Block] = []
    outside: list[str] = []
    strings = True  # whether a fence in a string of Python is part of the string
    place = 0
    while place < len(lines):
        opening = _OPENING.fullmatch(lines[place]) or _GLUED.fullmatch(lines[place])
        if opening is None:
            outside.append(lines[place])
            place += 1
            continue
        marker, tag = opening.group(1), (opening.group(2).split() or [""])[0].lower()
        end, in_string = _end(lines, place + 1, marker, strings and tag in _PYTHON)
        if in_string:
            # The string is never closed. Looked for once only, so that the time stays linear.
            strings = False
            end, _ = _end(lines, place + 1, marker, False)
        source = _dedent(lines[place + 1 : end])
        if source.strip():
            blocks.append(Block(source, tag, open=end == len(lines)))
        reopened = end < len(lines) and _opens_python(lines[end])
        place = end if reopened else end + 1
    return blocks, "\n".join(outside)


def _end(lines: list[str], start: int, marker: str, strings: bool) -> tuple[int, bool]:
    """The line that closes a fence, or the end; and whether that end lies in a string."""
    quote: str | None = None
    for place in range(start, len(lines)):
        line = lines[place]
        if quote is None and line.lstrip(" \t>").startswith(marker):
            return place, False
        if strings:
            quote = _open_quote(line, quote)
    return len(lines), quote is not None


def _open_quote(line: str, quote: str | None) -> str | None:
    """The triple quote that is open after a line, given the one open before it."""
    place = 0
    while True:
        if quote is not None:
            end = _END[quote].match(line, place)
            if end is None:
                return quote
            place, quote = end.end(), None
        token = _QUOTE.search(line, place)
        if token is None:
            return None
        place = token.end()
        if token.group() in _END:
            quote = token.group()


def _opens_python(line: str) -> bool:
    opening = _OPENING.fullmatch(line)
    return opening is not None and opening.group(2).strip().lower() in _PYTHON[1:]


def blocks_between_tags(text: str) -> list[Block]:
    """What stands between tags such as <code> and </code>, or in a listing of LaTeX."""
    blocks: list[Block] = []
    lower = text.lower()
    place = 0
    while (opening := _TAG.search(text, place)) is not None:
        tag, tex = opening.group("tag"), opening.group("tex")
        closing = f"</{tag}>" if tag else rf"\end{{{tex}}}"
        end = lower.find(closing.lower(), opening.end())
        if end < 0:
            break
        source = text[opening.end() : end].strip("\n")
        source = source.removeprefix("<![CDATA[").removesuffix("]]>")
        if source.strip():
            blocks.append(Block(_dedent(source.split("\n"))))
        place = end
    return blocks


def _dedent(lines: list[str]) -> str:
    """A block without the indentation or quote marks that its surroundings gave it."""
    full = [line for line in lines if line.strip()]
    if full and all(line.lstrip().startswith(">") for line in full):
        lines = [re.sub(r"^\s*> ?", "", line) for line in lines]
        full = [line for line in lines if line.strip()]
    margin = min((len(line) - len(line.lstrip(" \t")) for line in full), default=0)
    return "\n".join(line[margin:] for line in lines) + "\n"
