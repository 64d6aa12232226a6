"""Where was this photograph taken? `python examples/01_locate.py runs/demo photo.jpg`"""

import sys

from camloc import Localizer, Located

run, photo = sys.argv[1:3]
answer = Localizer.load(run).locate(photo)
if isinstance(answer, Located):
    x, y, z = answer.world_from_cam.translation.tolist()
    print(f"{photo} was taken at {x:.2f}, {y:.2f}, {z:.2f} in {answer.scene}")
else:
    print(f"{photo} cannot be placed: {answer.reason}")
