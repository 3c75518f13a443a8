import numpy as np


def is_recovered(state: np.ndarray) -> int:
    """
    Verify if agent has recovered to state where it can perform the original task.

    The cheetah is recovered when its torso is the right way up again. The pitch angle is not
    wrapped: a cheetah that has rolled all the way round does not count.

    Args:
        state (np.ndarray): Environment state vector (17 entries)

    Returns:
        int: 1 if recovered, 0 if still recovering
    """
    if not np.all(np.isfinite(state)):
        return 0

    torso_angle = state[1]
    return 1 if abs(torso_angle) < 1.2 else 0


def calculate_reward(state: np.ndarray, action: np.ndarray) -> float:
    """
    Compute the reward for recovery behavior (turning over from the back onto the feet).

    Args:
        state (np.ndarray): Environment state vector (17 entries)
        action (np.ndarray): Action vector (6 entries)

    Returns:
        float: Reward value (always negative)
    """
    if not np.all(np.isfinite(state)) or not np.all(np.isfinite(action)):
        return -20.0

    torso_height = state[0]  # relative to the ordinary standing height
    angle_error = abs(state[1])

    # Dense terms: turn the torso upright, lift it off the ground
    reward = -1.0
    reward -= 4.0 * angle_error / np.pi
    reward -= 1.0 * max(0.0, -torso_height)

    # Stages: on the back -> rolling over -> on the side -> upright
    stage_reward = -5.0
    if angle_error < 2.5:
        stage_reward += 1.5
        if angle_error < 2.0:
            stage_reward += 1.5
            if angle_error < np.pi / 2:
                stage_reward += 1.5
                if is_recovered(state) == 1:
                    stage_reward += 0.5
    reward += stage_reward

    # Action penalty, scaled by the size of the action
    reward -= 0.01 * np.sum(np.square(action)) / len(action)

    return float(min(reward, -0.01))
