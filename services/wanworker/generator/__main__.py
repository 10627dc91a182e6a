"""`python -m wanworker.generator`: the generator as a process."""

import os

from wanworker.runtime.extras import needs


def main() -> None:
    """Runs until told to stop."""
    # OpenMP's threads spin while they wait. Beside the other services on the same cores that costs two to three times
    # the work itself. libgomp reads this as torch loads it, hence before the imports.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with needs("generator"):
        from wanworker.generator.service import build_service
        from wanworker.generator.settings import GeneratorSettings
        from wanworker.runtime.process import run_main

    run_main("wanworker-generator", GeneratorSettings, build_service)


if __name__ == "__main__":
    main()
