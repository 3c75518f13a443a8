import numpy as np


def tilt_angle(quaternion: np.ndarray) -> float:
    """
    Angle between the torso's own vertical axis and the world's.

    Args:
        quaternion (np.ndarray): Orientation of the torso [w, x, y, z]

    Returns:
        float: 0 when upright, pi when upside down [rad]
    """
    _, x, y, _ = quaternion
    cos_tilt = 1.0 - 2.0 * (x * x + y * y)
    return np.arccos(np.clip(cos_tilt, -1.0, 1.0))


def is_recovered(state: np.ndarray) -> int:
    """
    Verify if agent has recovered to state where it can perform the original task.

    Args:
        state (np.ndarray): Environment state vector (27 entries)

    Returns:
        int: 1 if recovered, 0 if still recovering
    """
    if not np.all(np.isfinite(state)):
        return 0

    torso_height = state[0]
    tilt = tilt_angle(state[1:5])

    # The right way up, neither pressed to the ground nor thrown into the air
    if 0.2 <= torso_height <= 1.0 and tilt < 1.3:
        return 1
    return 0


def calculate_reward(state: np.ndarray, action: np.ndarray) -> float:
    """
    Compute the reward for recovery behavior (flipping the torso back upright).

    Args:
        state (np.ndarray): Environment state vector (27 entries)
        action (np.ndarray): Action vector (8 entries)

    Returns:
        float: Reward value (always negative)
    """
    if not np.all(np.isfinite(state)) or not np.all(np.isfinite(action)):
        return -20.0

    tilt = tilt_angle(state[1:5])
    height_error = np.abs(state[0] - 0.6)

    # Dense terms: turn the torso upright, bring it to its walking height
    reward = -1.0 - 1.0 * tilt - 2.0 * height_error

    # Stages: upside down -> tipping over -> on the side -> upright
    stage_reward = -5.0
    if tilt < 2.5:
        stage_reward += 1.5
        if tilt < 2.0:
            stage_reward += 1.5
            if tilt < np.pi / 2:
                stage_reward += 1.5
                if is_recovered(state) == 1:
                    stage_reward += 0.5
    reward += stage_reward

    # Action penalty, scaled by the size of the action
    reward -= 0.01 * np.sum(np.square(action)) / len(action)

    return float(min(reward, -0.01))
