"""An exported network without camloc: `python examples/04_onnx_without_camloc.py model.onnx image.jpg`

For networks that regress a pose as a position and a quaternion, such as those of `demo/hyperpose`; the image
has the shape of the training images. `docs/guides/outputs.md` says what the outputs of other networks are.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["camloc"])
size = about["metadata"]["preprocess"]["width"], about["metadata"]["preprocess"]["height"]
image = ImageOps.fit(
    ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB"), size, Image.Resampling.BILINEAR
)
pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255
position, orientation, *_ = session.run(None, {"images": pixels})
(center,) = about["decoding"]["centers"]
assert about["decoding"]["orientation"] in ("quaternion", "4d_norm"), "see docs/guides/outputs.md"
print("position", position[0] + center)
print("quaternion_wxyz", orientation[0] / np.linalg.norm(orientation[0]))
