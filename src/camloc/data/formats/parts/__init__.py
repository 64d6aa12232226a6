"""What the readers of data sets share: files as people hand them over, checks, splits, intrinsics."""
