"""How much a program may cost to understand; a reply that needs more is refused."""

from reward_codegen.errors import BudgetExceeded

MAX_REPLY_CHARACTERS = 400_000
MAX_SOURCE_CHARACTERS = 60_000
MAX_TOKENS = 15_000
MAX_NESTING = 60  # of blocks, brackets and expressions; long sums do not count as nesting
MAX_CALL_DEPTH = 24
MAX_STEPS = 150_000  # evaluated syntax nodes, over the module and one call
MAX_OPERATIONS = 6_000  # operations emitted into the traced program
MAX_WORK = 20_000_000  # array entries computed, and items copied, while the program is evaluated
MAX_ELEMENTS = 100_000  # of one array or string
MAX_ITEMS = 10_000  # of one list, tuple, dict or range: each item is a value of its own
MAX_INTEGER_BITS = 1_024
UNROLLED_ITERATIONS = 12  # of a loop whose condition depends on the state, before it is rolled up
MAX_LOOP_ITERATIONS = 1_000  # of a loop whose condition depends on the state


class Budget:
    """Counts what one evaluation has spent."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Count from nothing: a new call begins."""
        self.steps = 0
        self.operations = 0
        self.work_done = 0

    def step(self, count: int = 1) -> None:
        """One syntax node evaluated, or what takes as long as `count` of them."""
        self.steps += count
        if self.steps > MAX_STEPS:
            raise BudgetExceeded(
                f"the program takes more than {MAX_STEPS:,} evaluation steps; "
                "use fewer or shorter loops, or array operations"
            )

    def operation(self) -> None:
        """One operation emitted into the traced program."""
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise BudgetExceeded(
                f"the program unrolls to more than {MAX_OPERATIONS:,} array operations; "
                "use array operations instead of loops over single entries"
            )

    def work(self, amount: int) -> None:
        """So many array entries are about to be computed, or items to be copied."""
        self.work_done += amount
        if self.work_done > MAX_WORK:
            raise BudgetExceeded(
                "the program computes or copies too many entries; use smaller arrays and lists, "
                "or fewer loops over them"
            )

    @staticmethod
    def elements(count: int, what: str = "an array") -> None:
        """A container of `count` elements is about to be made."""
        most = MAX_ELEMENTS if what in ("an array", "a string") else MAX_ITEMS
        if count > most:
            raise BudgetExceeded(f"{what} of more than {most:,} elements is too large")

    @staticmethod
    def integer_bits(bits: int) -> None:
        """An integer of up to `bits` bits is about to be made."""
        if bits > MAX_INTEGER_BITS:
            raise BudgetExceeded(
                f"an integer of more than {MAX_INTEGER_BITS:,} bits is too large; use a float"
            )
