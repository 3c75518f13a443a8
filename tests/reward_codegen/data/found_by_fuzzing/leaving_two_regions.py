def is_recovered(state):
    return 1 if state[0] > 0 else 0
def calculate_reward(state, action):
    total = 0.0
    for x in state:
        if x > 1:
            break
        if x < 1:
            total += 1
            continue
        return -5.0
    return total
