"""Tools for those who build wanworker."""
