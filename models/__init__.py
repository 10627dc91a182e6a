"""The demo checkpoints and the code that makes them."""
