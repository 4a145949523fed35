"""Exports of annotation tools and data sets in their published files, read into one form; `formats` has a file each."""
