// What an exported model.onnx of camloc says about itself, and how its outputs become a pose.
// No library: the file is read as protobuf as far as its metadata (ModelProto, field 14) need it.

// The JSON of the entry `camloc`; bytes is a Uint8Array with the file.
export function readAbout(bytes) {
  for (const { field, value } of fields(bytes)) {
    if (field !== 14) continue;
    let key = "", content = null;
    for (const part of fields(value)) {
      if (part.field === 1) key = new TextDecoder().decode(part.value);
      if (part.field === 2) content = part.value;
    }
    if (key === "camloc" && content) return JSON.parse(new TextDecoder().decode(content));
  }
  throw new Error("this is no network that camloc export wrote");
}

// The fields of a protobuf message that have a length; numbers are passed over.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1;
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("the file ends too early");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
  };
  while (at < bytes.length) {
    const tag = varint(), field = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0: varint(); break;
      case 1: at += 8; break;
      case 2: {
        const length = varint();
        if (at + length > bytes.length) throw new Error("the file ends too early");
        yield { field, value: bytes.subarray(at, at + length) };
        at += length;
        break;
      }
      case 5: at += 4; break;
      default: throw new Error("this is no ONNX file");
    }
  }
}

// Pixels (RGBA, as a canvas has them) as the network's input: red, then green, then blue, from 0 to 1.
export function planes(rgba) {
  const count = rgba.length / 4, input = new Float32Array(3 * count);
  for (let pixel = 0; pixel < count; pixel++) {
    for (let colour = 0; colour < 3; colour++) input[colour * count + pixel] = rgba[4 * pixel + colour] / 255;
  }
  return input;
}

// The part of an image (sx, sy, width, height) that has the shape of the network's input, from its middle.
export function middle(width, height, wanted) {
  const scale = Math.min(width / wanted.width, height / wanted.height);
  const w = wanted.width * scale, h = wanted.height * scale;
  return [(width - w) / 2, (height - h) / 2, w, h];
}

// Position and unit quaternion (w first) of world_from_cam, from the outputs of a network of one scene.
export function decode(about, position, orientation) {
  const { kind, centers, orientation: form } = about.decoding;
  if (kind !== "pose" || !["quaternion", "4d_norm"].includes(form)) {
    throw new Error(`this page does not decode ${kind} with ${form}; see docs/guides/outputs.md`);
  }
  const length = Math.hypot(...orientation);
  return {
    position: Array.from(position, (each, axis) => each + centers[0][axis]),
    quaternion_wxyz: Array.from(orientation, (each) => each / length),
  };
}
