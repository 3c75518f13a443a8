import numpy as np


def feet_beside_torso(state: np.ndarray) -> float:
    """
    Mean horizontal distance of the feet from the torso, in meters.

    Args:
        state (np.ndarray): Environment state vector (67 entries)

    Returns:
        float: 0 when both feet are below the torso
    """
    upward = state[34:37]  # the world's upward axis in the torso's frame
    total = 0.0
    for start in (25, 31):  # left foot, right foot
        foot = state[start : start + 3]
        total += float(np.linalg.norm(foot - np.dot(foot, upward) * upward))
    return total / 2.0


def is_recovered(state: np.ndarray) -> int:
    """
    Verify if agent has recovered to state where it can perform the original task.

    Args:
        state (np.ndarray): Environment state vector (67 entries)

    Returns:
        int: 1 if recovered, 0 if still recovering
    """
    if not np.all(np.isfinite(state)):
        return 0

    uprightness = state[36]  # z component of the torso's own upward axis
    torso_height = state[21] - 0.19 * uprightness

    # On its feet, and upright
    if 1.05 < torso_height < 1.95 and uprightness > 0.8:
        return 1
    return 0


def calculate_reward(state: np.ndarray, action: np.ndarray) -> float:
    """
    Compute the reward for recovery behavior (standing up from the ground).

    Args:
        state (np.ndarray): Environment state vector (67 entries)
        action (np.ndarray): Action vector (21 entries)

    Returns:
        float: Reward value (always negative)
    """
    if not np.all(np.isfinite(state)) or not np.all(np.isfinite(action)):
        return -20.0

    head_height = state[21]
    uprightness = state[36]

    # Dense terms: raise the head, bring the torso upright
    reward = -11.0
    reward += 3.0 * min(head_height, 1.45)
    reward += uprightness

    # Once it sits: draw the feet in below the torso, to rise over them
    sitting = np.clip((head_height - 0.35) / 0.3, 0.0, 1.0) * np.clip(uprightness / 0.7, 0.0, 1.0)
    below = np.clip(1.0 - feet_beside_torso(state) / 1.2, 0.0, 1.0)
    reward += sitting * (0.5 + 3.0 * below)

    # Standing upright
    if is_recovered(state) == 1:
        reward += 1.5

    # Action penalty, scaled by the size of the action
    reward -= 0.01 * np.sum(np.square(action)) / len(action)

    return float(min(reward, -0.01))
