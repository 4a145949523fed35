"""Running, comparing and reporting."""
