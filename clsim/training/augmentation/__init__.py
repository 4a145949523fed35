"""Random changes of training batches, `training.augmentation`."""
