import { decode, middle, planes, readAbout } from "./decode.js";

const byId = (id) => document.getElementById(id);
const say = (text) => { byId("answer").textContent = text; };

async function start() {
  ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
  const response = await fetch("model.onnx");
  if (!response.ok) throw new Error("model.onnx is not beside this page; see README.md");
  const bytes = new Uint8Array(await response.arrayBuffer());
  const about = readAbout(bytes);
  const session = await ort.InferenceSession.create(bytes);
  byId("file").disabled = false;
  say(`${about.metadata.model}: choose a photograph of ${about.metadata.scenes.join(", ")}`);
  byId("file").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    if (!file) return;
    try {
      say("…");
      byId("shown").src = URL.createObjectURL(file);
      byId("shown").hidden = false;
      say(await located(session, about, file));
    } catch (problem) {
      say(problem.message);
    }
  });
}

async function located(session, about, file) {
  const wanted = about.metadata.preprocess;
  const image = await createImageBitmap(file); // turned as EXIF says
  const canvas = document.createElement("canvas");
  canvas.width = wanted.width;
  canvas.height = wanted.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, ...middle(image.width, image.height, wanted), 0, 0, wanted.width, wanted.height);
  const input = planes(context.getImageData(0, 0, wanted.width, wanted.height).data);
  const started = performance.now();
  const outputs = await session.run({ images: new ort.Tensor("float32", input, [1, 3, wanted.height, wanted.width]) });
  const [position, orientation] = session.outputNames.map((name) => outputs[name].data);
  const pose = decode(about, position, orientation);
  const shown = (numbers, digits) => numbers.map((each) => each.toFixed(digits)).join("  ");
  return `position         ${shown(pose.position, 3)}\nquaternion wxyz  ${shown(pose.quaternion_wxyz, 4)}\n` +
    `${(performance.now() - started).toFixed(0)} ms`;
}

start().catch((problem) => say(problem.message));
