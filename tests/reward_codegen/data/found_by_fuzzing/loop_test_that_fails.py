import math
import numpy as np

def is_recovered(state):
    return 1

def calculate_reward(state, action):
    s, a = (state, action)
    i = 0
    r = 0.0
    while i < (s[i // 3] > 0.5):
        r += s[i // 3]
        i += 1
    return r
