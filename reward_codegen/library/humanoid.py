import numpy as np


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
    reward = -1.0
    reward -= 3.0 * np.abs(1.45 - head_height)
    reward -= 1.0 * (1.0 - uprightness)

    # Stages: lying -> sitting -> crouching -> nearly up -> standing upright
    stage_reward = -4.0
    if head_height > 0.4:
        stage_reward += 0.5
        if head_height > 0.8:
            stage_reward += 1.0
            if head_height > 1.1:
                stage_reward += 1.0
                if is_recovered(state) == 1:
                    stage_reward += 1.5
    reward += stage_reward

    # Action penalty, scaled by the size of the action
    reward -= 0.01 * np.sum(np.square(action)) / len(action)

    return float(min(reward, -0.01))
