"""What a model accepts and gives: checks of inputs and outputs, learned from calibration data and sealed with it."""
