"""Robots and environments that come from elsewhere, and ours as others' environments."""
