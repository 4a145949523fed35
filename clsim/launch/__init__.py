"""Runs started, watched and shared: `clsim.run`, `clsim.resume` and `clsim.compare`."""
