"""StreamPlan: what is streamed, planned from labels alone. Needs no torch."""
