"""Heads in closed form: statistics of features that stand for images, and what is solved from them."""
