"""Speed as ratios measured in one run: `make bench` writes benchmarks/results.md."""
