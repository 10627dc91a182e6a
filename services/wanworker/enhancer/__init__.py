"""Rewrites short prompts into rich ones with a GGUF language model. It knows nothing of jobs or videos."""
