"""One module per format, found by `clsim.data.importers.registry`: each defines `FORMAT`."""
