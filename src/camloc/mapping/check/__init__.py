"""Whether the poses, intrinsics and images of a scene fit each other, before anything is trained on them.

`check_scene` looks at three things: the images alone (`images`), the path of the poses alone (`path`), and
both together through matched local features (`correspondences`, `hypotheses`, `agreement`).
"""
