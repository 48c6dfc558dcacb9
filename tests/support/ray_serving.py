"""Ray Serve in a process of its own: `python -m support.ray_serving SETTINGS` runs until its standard input ends.

SETTINGS is JSON: port, state, models, identity, signer, receipt_key, pepper. It prints a line once it serves.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from intact.serve.ray_serve import Sources, application
from intact.serve.settings import Settings


def main() -> None:
    """Serve as the command line says."""
    import ray
    from ray import serve

    said: dict[str, Any] = json.loads(sys.argv[1])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": said["port"]})
        sources = Sources(
            models=said["models"],
            identity=said["identity"],
            signer=said["signer"],
            receipt_key=said["receipt_key"],
        )
        variables = {"INTACT_PEPPER_FILE": said["pepper"], "OMP_NUM_THREADS": "1"}
        options = {"num_cpus": 0.5, "runtime_env": {"env_vars": variables}}
        serve.run(application(Settings(state=said["state"]), sources, replicas=2, ray_actor_options=options))
        print("serving", flush=True)
        sys.stdin.read()
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
