"""The strategies that come with clsim, one file each, found by name through the entry points `clsim.strategies`.

Plugins are imported where they are made, so that listing strategies and checking options needs no torch.
"""
