"""Sections of the report that strategies bring; the report itself knows none of them."""
