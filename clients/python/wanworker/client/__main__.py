"""`python -m wanworker.client` is `wanworker`."""

from wanworker.client.cli.entry import main

if __name__ == "__main__":
    main()
