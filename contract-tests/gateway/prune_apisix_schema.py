"""Cuts what our routes use out of APISIX's schema dump.

    python contract-tests/gateway/prune_apisix_schema.py DUMP

``DUMP`` is what APISIX's control API answers to ``GET /v1/schema``. The result, which is APISIX's
own work under Apache-2.0, is committed beside this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RESOURCES = ("upstream", "service", "plugin_config", "consumer", "route")
PLUGINS = ("client-control", "api-breaker", "limit-count", "jwt-auth", "proxy-buffering")


def main() -> None:
    dump = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    pruned = {
        "source": "Apache APISIX 3.18.0, GET /v1/schema; Apache-2.0, https://apisix.apache.org",
        "main": {name: dump["main"][name] for name in RESOURCES},
        "plugins": {
            name: {
                part: dump["plugins"][name][part]
                for part in ("schema", "consumer_schema")
                if part in dump["plugins"][name]
            }
            for name in PLUGINS
        },
    }
    target = Path(__file__).with_name("apisix-3.18-schema.json")
    target.write_text(json.dumps(pruned, sort_keys=True, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
