import numpy as np


def is_recovered(state: np.ndarray) -> int:
    """
    Verify if agent has recovered to state where it can perform the original task.

    Args:
        state (np.ndarray): Environment state vector (17 entries)

    Returns:
        int: 1 if recovered, 0 if still recovering
    """
    if not np.all(np.isfinite(state)):
        return 0

    torso_height = state[0]
    torso_angle = state[1]

    # At walking height, and upright
    if 0.9 < torso_height < 2.0 and abs(torso_angle) < 0.3:
        return 1
    return 0


def calculate_reward(state: np.ndarray, action: np.ndarray) -> float:
    """
    Compute the reward for recovery behavior (getting up onto both feet).

    Args:
        state (np.ndarray): Environment state vector (17 entries)
        action (np.ndarray): Action vector (6 entries)

    Returns:
        float: Reward value (always negative)
    """
    if not np.all(np.isfinite(state)) or not np.all(np.isfinite(action)):
        return -20.0

    torso_height, torso_angle = state[0], state[1]
    height_error = np.abs(1.25 - torso_height)
    angle_error = np.abs(torso_angle)

    # Dense terms: raise the torso, bring it upright
    reward = -1.0 - 2.0 * height_error - 2.0 * angle_error

    # Stages: lying -> off the ground -> kneeling -> standing -> standing upright
    stage_reward = -3.5
    if torso_height > 0.35:
        stage_reward += 0.5
        if torso_height > 0.6:
            stage_reward += 1.0
            if torso_height > 0.9:
                stage_reward += 1.0
                if is_recovered(state) == 1:
                    stage_reward += 1.0
    reward += stage_reward

    # Action penalty, scaled by the size of the action
    reward -= 0.01 * np.sum(np.square(action)) / action.shape[0]

    return float(min(reward, -0.01))
