import numpy as np
def clamp(e):
    return min(max(e, -8.0), 8.0)
def helper(x, y):
    s, a, z, n = [x, y, 0.5, x], [y], 1.0, 2
    v = np.ones(3) * x
    w = v.copy()
    items = [y]
    for z in range(3):
        x = clamp((0.5 * s[0] + (s[0] if s[0] < s[0] else s[0])))
        items.append(clamp((s[0] + s[0])))
        if s[0] < s[0]:
            break
    else:
        x = clamp((max(v[2], 2) + 0.5 * z))
        z = clamp(0.5 * sum(e for e in (v if 3 == 3 else s) if e > s[3]))
        n = clamp(min((-1.5 - 0.5), 0.5 * z))
    return x + v[0] + w[1] + len(items)
def is_recovered(state):
    return 1 if state[0] > 0 else 0
def calculate_reward(state, action):
    s, a = state, action
    x, y, z, n = s[0], 0.5, 1.0, 0
    v = np.zeros(3)
    w = v
    items = [x]
    if not s[0] >= 1.0:
        return (1.0 * (2 <= v[2]))
    k1 = 0
    while (z > s[1] and s[-1] != n) and k1 < 20:
        k1 += 1
        items.append(clamp((v[0] + -0.25)))
        if -1.5 > 1.0:
            break
        x = clamp(np.where(s[2] >= 0, abs(n), np.clip(x, -2.0, 2.0)))
    return clamp(x) + clamp(y) + clamp(z) + clamp(n) + clamp(v[0] + v[1] - v[2]) + clamp(sum(items)) + len(items)
