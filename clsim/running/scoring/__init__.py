"""Scores of a run, kept in a process of their own: it alone has the truth, and the one that trains hands logits in."""
