"""``python -m gridpact.relay``: publishes the outbox until SIGTERM."""

import sys

from gridpact.kit.process import run_process
from gridpact.kit.settings import RelaySettings
from gridpact.relay.bootstrap import serving

if __name__ == "__main__":
    sys.exit(run_process("relay", RelaySettings, serving))
