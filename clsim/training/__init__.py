"""Training on Avalanche's template: losses, distillation, replay memory, optimiser. It never sees true labels."""
