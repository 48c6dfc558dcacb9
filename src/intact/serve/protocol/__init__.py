"""The Open Inference Protocol as values: bytes to requests, responses to bytes, nothing else."""
