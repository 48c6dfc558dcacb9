"""One file a step; steps are added, never changed."""
