"""Physics engines: pure functions on one simulation's state, the same for every engine."""
