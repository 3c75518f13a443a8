"""Which lanes are here: the conditions of a path, and what follows from them."""

from reward_codegen.language.graph import Graph, Node, Truth


class Path:
    """The conditions that hold for the lanes that are here.

    Attributes:
        full: all of them, since the program began.
        local: those since the present function was entered, without lanes that have left it for
            good: what an assignment to a variable selects by.
        facts: what is known of truths where the conditions hold.
    """

    __slots__ = ("facts", "full", "local")

    def __init__(
        self, full: tuple[Node, ...], local: tuple[Node, ...], facts: dict[Node, bool]
    ) -> None:
        self.full = full
        self.local = local
        self.facts = facts

    def assume(self, condition: Node, *, full: bool = True, local: bool = True) -> "Path":
        """The path of the lanes where one more condition holds."""
        facts = dict(self.facts)
        learn(facts, condition, True)
        return Path(
            (*self.full, condition) if full else self.full,
            (*self.local, condition) if local else self.local,
            facts,
        )


def learn(facts: dict[Node, bool], node: Node, holds: bool) -> None:
    """Note that a truth holds or does not, and what follows."""
    pending = [(node, holds)]
    while pending:
        node, holds = pending.pop()
        facts[node] = holds
        if node.op == "not":
            pending.append((node.args[0], not holds))
        elif (node.op == "and" and holds) or (node.op == "or" and not holds):
            pending.extend((arg, holds) for arg in node.args)


def settle(graph: Graph, truth: Truth, facts: dict[Node, bool], depth: int = 12) -> Truth:
    """A truth, as far as the facts decide it."""
    if not isinstance(truth, Node) or truth.shape != ():
        return truth
    if truth in facts:
        return facts[truth]
    if depth == 0 or truth.op not in ("not", "and", "or") or not facts:
        return truth
    parts = [settle(graph, arg, facts, depth - 1) for arg in truth.args]
    if all(part is arg for part, arg in zip(parts, truth.args, strict=True)):
        return truth
    if truth.op == "not":
        return graph.not_(parts[0])
    return (graph.and_ if truth.op == "and" else graph.or_)(*parts)


def value_of(node: Node, facts: dict[Node, bool], depth: int = 8) -> bool | None:
    """Whether a truth holds where the facts do; None if they do not say."""
    if node in facts:
        return facts[node]
    if depth == 0 or node.op not in ("not", "and", "or"):
        return None
    parts = [value_of(arg, facts, depth - 1) for arg in node.args]
    if node.op == "not":
        return None if parts[0] is None else not parts[0]
    decisive = node.op == "or"
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def consistent(facts: dict[Node, bool]) -> bool:
    """Draw the conclusions of facts like `not (a and b)`; False if they contradict each other."""
    changed = True
    while changed:
        changed = False
        for node, holds in list(facts.items()):
            if node.op not in ("and", "or") or holds is (node.op == "and"):
                continue
            # `a and b` does not hold, or `a or b` holds: one part may decide the other.
            parts = [value_of(arg, facts) for arg in node.args]
            if None not in parts and holds not in parts:
                return False
            for place in (0, 1):
                if parts[place] is (not holds) and parts[1 - place] is None:
                    learn(facts, node.args[1 - place], holds)
                    changed = True
    return True
