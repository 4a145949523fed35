"""One run: its folder, identity, checkpoints and execution."""
