"""The gateway: jobs, quality and durability. It imports neither torch nor llama_cpp."""
