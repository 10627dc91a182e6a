"""qwen-demo: a tiny Qwen2 chat model that turns a short prompt into one rich paragraph."""
