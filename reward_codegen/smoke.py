"""A quick look at what a program computes on a few ordinary states, whatever they stand for.

It finds what no program can want: results that are never finite, loops that do not end, a test
that is no 0 or 1. Whether the reward is any good is for states of the environment to say.
"""

import numpy as np

from reward_codegen.errors import VerificationError
from reward_codegen.reference import Reference

_SCALES = (0.0, 0.1, 0.3, 0.6, 1.0, 1.5)
_STATES_PER_SCALE = 2
_LEAST_SHARE = 0.05  # of the states that the reward must be finite on


def smoke_test(reference: Reference, state_size: int, action_size: int) -> None:
    """Evaluate both functions on small random states.

    Raises:
        VerificationError: they cannot serve on any of them.
    """
    generator = np.random.default_rng(0)
    finite = failed = count = 0
    failure = ""
    for scale in _SCALES:
        for _ in range(_STATES_PER_SCALE):
            state = generator.uniform(-scale, scale, state_size)
            action = generator.uniform(-1.0, 1.0, action_size)
            recovered = reference.is_recovered(state)
            if reference.failure is None and recovered not in (0, 1):
                raise VerificationError(
                    f"is_recovered returns {recovered:.4g}; it must return 0 or 1"
                )
            reward = reference.calculate_reward(state, action)
            if reference.endless_loop is not None:
                raise VerificationError(
                    "this loop does not end for ordinary states; give it a bound that does not "
                    "depend on the state, as in `for _ in range(10)`",
                    line=reference.endless_loop,
                )
            count += 1
            if reference.failure is not None:
                failed, failure = failed + 1, reference.failure
            elif np.isfinite(reward):
                finite += 1
    if failed > (1.0 - _LEAST_SHARE) * count:
        raise VerificationError(
            f"calculate_reward raises an exception for all ordinary states ({failure}); "
            "guard only against states that cannot be computed with"
        )
    if finite < _LEAST_SHARE * count:
        raise VerificationError(
            "calculate_reward gives NaN or an infinity for all ordinary states; check logarithms "
            "and roots of negative numbers and divisions by zero"
        )
