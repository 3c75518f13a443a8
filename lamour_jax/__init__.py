"""Recovery from out-of-distribution states: the learner, the runs and the command lines."""

# First of all imports: Brax imports MJX, which prints about Warp unless it is imported quietly.
import envs.physics.mjx_engine  # noqa: F401
