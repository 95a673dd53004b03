"""Side-by-side benchmarks: figures and ratios of one run, never timed asserts."""
