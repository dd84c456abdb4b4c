"""What monitoring costs a Django request, ours and everybody else's, side by side: `python -m tests.benchmarks`."""
