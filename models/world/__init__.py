"""The procedural world that the demo models are trained on: words, scenes, captions, pictures."""
