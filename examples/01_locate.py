"""Where was this image taken? `python examples/01_locate.py runs/demo image.jpg`"""

import sys

from camloc import Localizer, Located

run, image = sys.argv[1:3]
answer = Localizer.load(run).locate(image)
if isinstance(answer, Located):
    x, y, z = answer.world_from_cam.translation.tolist()
    how = "verified" if answer.is_verified else "not verified"
    print(f"{image} was taken at {x:.2f}, {y:.2f}, {z:.2f} in {answer.scene} ({how})")
else:
    print(f"{image} is lost: {answer.reason}")
