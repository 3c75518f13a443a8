"""The language of reward code: an interpreter that gives meaning to what stands in its tables."""
