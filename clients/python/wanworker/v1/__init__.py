"""Generated messages and stubs of the API `wanworker.v1`. Made by `make proto` from protos/wanworker/v1."""
