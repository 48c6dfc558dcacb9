"""From a float graph to an integer graph: plan, calibrate, solve, emit, check."""
