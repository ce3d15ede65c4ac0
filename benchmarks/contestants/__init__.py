"""What the benchmarks compare: this library, and its peers at their best."""
