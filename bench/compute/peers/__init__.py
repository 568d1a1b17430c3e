"""The programs measured against, each a process in bench/.venv."""
