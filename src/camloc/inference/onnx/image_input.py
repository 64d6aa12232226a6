"""Let an exported network take an image of any size as bytes, which it scales and cuts itself."""

import onnx
from onnx import parser

from camloc.data.image_io import Preprocess

INPUT = "image"
"""Name of the input: (height, width, 3) RGB, 8 bits, upright or as stored: as the training images were."""

# As `Preprocess.canvas`, from top to bottom; {...} are filled in. Sizes are computed in double precision, so
# that they are rounded as Python rounds them.
_GRAPH = """
<ir_version: 10, opset_import: ["" : {opset}]>
scale_and_cut (uint8[height, width, 3] image) => (float[1, 3, {height}, {width}] images)
<
  double[2] target = {{{height}, {width}}}, double[1] short_side = {{{short_side}}},
  int64[2] cut_size = {{{height}, {width}}}, int64[1] two = {{2}}, int64[2] axes = {{2, 3}},
  int64[2] one_image = {{1, 3}}, int64[1] first = {{0}}, float[1] white = {{255.0}}
>
{{
  size = Shape <start = 0, end = 2> (image)
  exact_size = Cast <to = 11> (size)
  cover = Div (target, exact_size)
  least = ReduceMax (cover)
  shorter = ReduceMin (exact_size)
  wanted = Div (short_side, shorter)
  scale = Max (least, wanted)
  exact_canvas = Mul (exact_size, scale)
  rounded = Round (exact_canvas)
  canvas_size = Cast <to = 7> (rounded)
  canvas = Max (canvas_size, cut_size)
  sizes = Concat <axis = 0> (one_image, canvas)
  colours = Transpose <perm = [2, 0, 1]> (image)
  batch = Unsqueeze (colours, first)
  scaled = Resize <mode = "linear", antialias = 1> (batch, , , sizes)
  rest = Sub (canvas, cut_size)
  corner = Div (rest, two)
  end = Add (corner, cut_size)
  cut = Slice (scaled, corner, end, axes)
  levels = Cast <to = 1> (cut)
  images = Div (levels, white)
}}
"""


def with_image_input(network: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """The network with the input `image` (`INPUT`) instead of a batch of prepared images.

    It computes what `Preprocess.cut` does, without removing the distortion of lenses. Its outputs are those
    of a batch of one image.
    """
    opset = next(each.version for each in network.opset_import if each.domain == "")
    before = parser.parse_model(
        _GRAPH.format(
            opset=opset, height=preprocess.height, width=preprocess.width, short_side=preprocess.short_side
        )
    )
    before.ir_version = network.ir_version
    before.opset_import.extend(each for each in network.opset_import if each.domain)
    network = onnx.compose.add_prefix(network, "network/", rename_inputs=False, rename_outputs=False)
    return onnx.compose.merge_models(before, network, io_map=[("images", "images")])
