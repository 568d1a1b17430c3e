"""``python -m gridpact.bridge``: delivers compute tasks until SIGTERM."""

import sys

from gridpact.bridge.bootstrap import serving
from gridpact.kit.process import run_process
from gridpact.kit.settings import BridgeSettings

if __name__ == "__main__":
    sys.exit(run_process("bridge", BridgeSettings, serving))
