"""What prepares a robot for training: banks of starts, and a planner that finds ways up."""
