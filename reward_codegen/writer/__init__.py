"""A language model writes reward programs: describe, reason, write, repair.

`generate` runs the steps (`steps`) with the wording of `prompts`. Every attempt is written down
(`record`), complete replies are kept (`cache`), and `models` finds the model that a name means
among `providers`.
"""
