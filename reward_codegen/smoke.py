"""A quick look at what a program computes on a few ordinary states, whatever they stand for.

It finds what no program can want: results that are never finite, loops that do not end, a test
that is no 0 or 1, numbers that single precision cannot hold. Whether the reward is any good is for
states of the environment to say.
"""

import numpy as np

from reward_codegen.errors import VerificationError
from reward_codegen.reference import Reference

_SCALES = (0.0, 0.1, 0.3, 0.6, 1.0, 1.5)
_STATES_PER_SCALE = 2
_WIDE = 3.0  # a larger scale, where the program may do without an exception
_LEAST_SHARE = 0.05  # of the states that the reward must be finite on
_APART = 1e-2  # relative difference of single from double precision that counts
_MOST_APART = 2  # states where it may be so: a threshold falls on the other side


def smoke_test(reference: Reference, state_size: int, action_size: int) -> None:
    """Evaluate both functions on small random states.

    Raises:
        VerificationError: they cannot serve on any of them.
    """
    generator = np.random.default_rng(0)
    finite = failed = well = count = tried = apart = 0
    failure = ""
    for scale in _SCALES:
        for _ in range(_STATES_PER_SCALE):
            state: np.ndarray = generator.uniform(-scale, scale, state_size).astype(np.float32)
            action = generator.uniform(-1.0, 1.0, action_size).astype(np.float32)
            recovered = reference.is_recovered(state)
            if reference.failure is None and recovered not in (0, 1):
                raise VerificationError(
                    f"is_recovered returns {recovered:.4g}; it must return 0 or 1"
                )
            single = reference.calculate_reward(state, action, np.float32)
            reward = reference.calculate_reward(state, action)
            if reference.endless_loop is not None:
                raise VerificationError(
                    "this loop does not end for ordinary states; give it a bound that does not "
                    "depend on the state, as in `for _ in range(10)`",
                    line=reference.endless_loop,
                )
            count, tried = count + 1, tried + 1
            if reference.failure is not None:
                failed, failure = failed + 1, reference.failure
                continue
            well += 1
            if np.isfinite(reward):
                finite += 1
                apart += not np.isclose(single, reward, rtol=_APART, atol=_APART)
    for _ in range(_STATES_PER_SCALE):
        state = generator.uniform(-_WIDE, _WIDE, state_size)
        reference.calculate_reward(state, np.zeros(action_size))
        failed, tried = failed + (reference.failure is not None), tried + 1
    if failed > (1.0 - _LEAST_SHARE) * tried:
        raise VerificationError(
            f"calculate_reward raises an exception for all ordinary states ({failure}); "
            "guard only against states that cannot be computed with"
        )
    if finite < _LEAST_SHARE * well:
        raise VerificationError(
            "calculate_reward gives NaN or an infinity for all ordinary states; check logarithms "
            "and roots of negative numbers and divisions by zero"
        )
    if apart > _MOST_APART:
        raise VerificationError(
            f"calculate_reward differs between single and double precision on {apart} of {count} "
            "ordinary states; avoid integers above 16 million, numbers beyond 1e38 and "
            "differences of large numbers"
        )
