"""Trained models at work: load the model of a finished run, score images, choose thresholds, export it."""
