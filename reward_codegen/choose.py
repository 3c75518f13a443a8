"""Which of several blocks of code make up the program."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence

from reward_codegen.errors import ExtractionError
from reward_codegen.fences import Block
from reward_codegen.signatures import REQUIRED

WANTED = (
    "reply with one ```python block that defines is_recovered(state) and "
    "calculate_reward(state, action)"
)

_MAX_PARSED = 60_000  # characters of one piece; longer source is refused by the compiler
_DEFINITION = re.compile(r"^(?:async +)?def +(\w+)", re.MULTILINE)
_DIFF = re.compile(r"^(?:@@ -\d|\+ *def )", re.MULTILINE)
_DEFINING = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)


def tree_of(source: str) -> ast.Module | None:
    """The syntax tree of a piece of text; None if it is not Python or too long."""
    if len(source) > _MAX_PARSED:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def is_source(text: str) -> bool:
    """Whether a whole text is Python that defines something, and no JSON or single word."""
    tree = tree_of(text)
    return tree is not None and any(not isinstance(part, ast.Expr) for part in tree.body)


def choose(blocks: Sequence[Block]) -> tuple[str, tuple[str, ...]]:
    """The source that the blocks of a reply make up, and notes on which were used.

    The last block that defines both functions counts, with later blocks that define parts of it
    anew, and with others that define names it needs. They are joined in their order, so that of
    two versions the later counts, as in Python.

    Raises:
        ExtractionError: the blocks hold changes and not the program.
    """
    if len(blocks) == 1:
        _refuse_diff(blocks[0])
        return blocks[0].source, ()
    trees = [tree_of(block.source) for block in blocks]
    provided = [_defines(block, tree) for block, tree in zip(blocks, trees, strict=True)]
    reasons: dict[int, str] = {}
    whole = [i for i, names in enumerate(provided) if names.issuperset(REQUIRED)]
    if whole:
        reasons[whole[-1]] = "the last that defines both functions"
    for name in REQUIRED:
        last = max((i for i, names in enumerate(provided) if name in names), default=None)
        if last is not None and last not in reasons:
            reasons[last] = f"which defines {name}" + (" anew" if whole else "")
    if not reasons:
        return "\n".join(block.source for block in blocks), (f"{len(blocks)} blocks were joined",)
    _add_updates(trees, provided, reasons)
    _add_needed(trees, provided, reasons)
    for index in range(min(reasons), len(blocks)):
        _refuse_diff(blocks[index])
    used = ", ".join(f"block {i + 1} ({reasons[i]})" for i in sorted(reasons))
    note = f"of {len(blocks)} code blocks these were used: {used}"
    return "\n".join(blocks[index].source for index in sorted(reasons)), (note,)


def _add_updates(
    trees: list[ast.Module | None], provided: list[set[str]], reasons: dict[int, str]
) -> None:
    """Later blocks of definitions only, one of which the chosen blocks hold already."""
    have = set().union(*(provided[index] for index in reasons))
    for index in range(min(reasons) + 1, len(trees)):
        tree = trees[index]
        if index in reasons or tree is None:
            continue
        parts = [part for part in tree.body if not isinstance(part, ast.Import | ast.ImportFrom)]
        anew = {name for part in parts for name in _bound(part)} & have
        if anew and all(isinstance(part, _DEFINING) for part in parts):
            reasons[index] = f"which defines {sorted(anew)[0]} anew"


def _add_needed(
    trees: list[ast.Module | None], provided: list[set[str]], reasons: dict[int, str]
) -> None:
    """Blocks that define names which the chosen blocks use and nothing in them defines."""
    needed = [_needs(tree) for tree in trees]
    while True:
        have = set().union(*(provided[index] for index in reasons))
        wanted = set().union(*(needed[index] for index in reasons)) - have
        wanted.update(name for name in REQUIRED if name not in have)
        helpful = [i for i, names in enumerate(provided) if i not in reasons and names & wanted]
        if not helpful:
            return
        name = sorted(provided[helpful[-1]] & wanted)[0]
        reasons[helpful[-1]] = f"for {name}"


def _refuse_diff(block: Block) -> None:
    if block.tag in ("diff", "patch") or _DIFF.search(block.source):
        raise ExtractionError(f"the reply holds a diff and not the program; {WANTED}")


def _defines(block: Block, tree: ast.Module | None) -> set[str]:
    """The names that a block binds at its top level."""
    if tree is None:
        return set(_DEFINITION.findall(block.source))
    return {name for statement in tree.body for name in _bound(statement)}


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        nodes = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    return set()


def _needs(tree: ast.Module | None) -> set[str]:
    """The names that a block uses and does not bind anywhere itself."""
    used: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound.update(_bound(node))
    return used - bound
