"""Training: cached images or features, stages that say which parameters train, one loop for all tasks."""
