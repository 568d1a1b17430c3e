"""The one error a person sees."""


class PlatformError(Exception):
    """Why the platform cannot do what was asked, for the person at the terminal."""
