import numpy as np


def is_recovered(state: np.ndarray) -> int:
    """
    Verify if the chair stands again, so that the robot can perform the original task.

    Args:
        state (np.ndarray): Environment state vector (5 entries)

    Returns:
        int: 1 if recovered, 0 if still recovering
    """
    if not np.all(np.isfinite(state)):
        return 0

    chair_tilt = state[2]
    return 1 if chair_tilt < 0.08 * np.pi else 0


def calculate_reward(state: np.ndarray, action: np.ndarray) -> float:
    """
    Compute the reward for recovery behavior (setting the chair upright).

    Args:
        state (np.ndarray): Environment state vector (5 entries)
        action (np.ndarray): Action vector (20 entries)

    Returns:
        float: Reward value (always negative)
    """
    if not np.all(np.isfinite(state)) or not np.all(np.isfinite(action)):
        return -20.0

    hand_distance = state[0]
    chair_tilt = state[2]

    # Dense terms: bring the hands to the chair; turning it upright is worth much more
    reward = -1.0
    reward -= min(hand_distance, 1.0)
    reward -= 4.0 * chair_tilt

    # Stages: lying -> lifted -> half-way up -> standing
    stage_reward = -3.0
    if chair_tilt < 0.4 * np.pi:
        stage_reward += 0.5
        if chair_tilt < 0.25 * np.pi:
            stage_reward += 1.0
            if is_recovered(state) == 1:
                stage_reward += 1.5
    reward += stage_reward

    # Action penalty, scaled by the size of the action
    reward -= 0.01 * np.sum(np.square(action)) / len(action)

    return float(min(reward, -0.01))
