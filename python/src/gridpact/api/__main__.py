"""``python -m gridpact.api``: serves the REST API."""

from __future__ import annotations

import sys

from gridpact.api.bootstrap import serving_api
from gridpact.kit.process import run_process
from gridpact.kit.settings import ApiSettings

if __name__ == "__main__":
    sys.exit(run_process("api", ApiSettings, serving_api))
