"""The one way in which an import fails."""


class ImportFileError(Exception):
    """The file cannot become a submission; the message names the key and what it must be."""
