import numpy as np


def is_recovered(state: np.ndarray) -> int:
    """
    Verify if agent has recovered to state where it can perform the original task.

    Args:
        state (np.ndarray): Environment state vector (11 entries)

    Returns:
        int: 1 if recovered, 0 if still recovering
    """
    if not np.all(np.isfinite(state)):
        return 0

    torso_height = state[0]
    torso_angle = state[1]

    # High enough, and upright
    if torso_height > 0.75 and abs(torso_angle) < 0.2:
        return 1
    return 0


def calculate_reward(state: np.ndarray, action: np.ndarray) -> float:
    """
    Compute the reward for recovery behavior (standing up from the ground).

    Args:
        state (np.ndarray): Environment state vector (11 entries)
        action (np.ndarray): Action vector (3 entries)

    Returns:
        float: Reward value (always negative)
    """
    if not np.all(np.isfinite(state)) or not np.all(np.isfinite(action)):
        return -20.0

    standing_height = 1.25
    height_error = max(0.0, standing_height - state[0])
    angle_error = abs(state[1])

    # Dense terms: raise the torso, bring it upright
    reward = -1.0
    reward -= 2.0 * height_error
    reward -= 1.5 * angle_error

    # Stages: lying -> off the ground -> crouching -> standing upright
    stage_reward = -4.0
    if state[0] > 0.3:
        stage_reward += 1.0
        if state[0] > 0.5:
            stage_reward += 1.0
            if state[0] > 0.75:
                stage_reward += 1.0
                if is_recovered(state) == 1:
                    stage_reward += 1.0
    reward += stage_reward

    # Action penalty, scaled by the size of the action
    reward -= 0.01 * np.sum(np.square(action)) / len(action)

    return float(min(reward, -0.01))
