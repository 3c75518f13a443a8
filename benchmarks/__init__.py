"""Measurements of speed, run from the repository; not installed with the packages."""
