"""wan-demo: a small Wan checkpoint trained on the procedural world."""
