"""The map of a scene: local features, triangulated with the known poses of its frames.

Its files are its steps, in this order: `features` (keypoints and descriptors of an image), `pairs` (which
frames to compare), `matching` (keypoints of two frames that show the same point), `triangulation` (points
of the world), `scene_map` (what is kept of them, and its file). Nothing here imports torch, except an
optional extractor of features that is a network.
"""
