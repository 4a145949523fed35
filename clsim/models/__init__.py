"""Backbones by name and the multi-label head that grows with the stream."""
