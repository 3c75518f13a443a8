"""Pictures of a robot: what is drawn, by whom, and in which process."""
