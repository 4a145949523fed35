"""Sections of the report page, each with the numbers, tables and figures that only it shows."""
