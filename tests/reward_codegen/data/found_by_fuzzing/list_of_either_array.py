import numpy as np
def is_recovered(state):
    return 1 if state[0] > 0 else 0
def calculate_reward(state, action):
    s, a = state, action
    v = np.zeros(3)
    return 0.5 * s[0] + sum(e for e in (v if s[0] < s[1] else s) if e > s[0])
