"""Scenario files that come with clsim; `clsim scenarios` lists them."""
