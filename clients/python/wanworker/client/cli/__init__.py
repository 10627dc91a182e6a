"""The command line `wanworker`. Needs the extra: `pip install 'wanworker-client[cli]'`."""
