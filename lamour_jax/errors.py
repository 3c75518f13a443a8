"""The one exception that the command lines turn into a message."""


class UserError(Exception):
    """Something that the user can put right: what was wrong, where, and what would be right."""
