"""Where images and true labels come from."""
