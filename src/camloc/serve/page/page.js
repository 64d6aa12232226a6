"use strict";
// The page of the service: a photograph in, the pose among the points and cameras of the scene's map.

const byId = (id) => document.getElementById(id);
const canvas = byId("view"), context = canvas.getContext("2d");
const eye = { yaw: 0.6, pitch: -0.5, distance: 5, target: [0, 0, 0] };
let drawing = null; // {scene, points, cameras} of the scene that is shown
let found = null; // the last pose
let lengthOfScene = 1;
let up = [0, -1, 0];

// --- 3-D: a turntable around a point, drawn with the 2-D context -------------------------------------------

const add = (a, b, scale = 1) => [a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => { const n = Math.hypot(...a) || 1; return a.map((x) => x / n); };

function rotated([w, x, y, z], v) {
  const t = cross([x, y, z], v).map((each) => 2 * each);
  return add(add(v, t, w), cross([x, y, z], t));
}

function axes() {
  const east = unit(Math.abs(up[0]) < 0.9 ? cross([1, 0, 0], up) : cross([0, 1, 0], up));
  const north = cross(up, east);
  const flat = add(east.map((x) => x * Math.cos(eye.yaw)), north, Math.sin(eye.yaw));
  const forward = unit(add(flat.map((x) => x * Math.cos(eye.pitch)), up, Math.sin(eye.pitch)));
  const right = unit(cross(forward, up));
  return { forward, right, down: cross(forward, right) };
}

function projector() {
  const { forward, right, down } = axes();
  const centre = add(eye.target, forward, -eye.distance);
  const focal = 0.9 * Math.min(canvas.width, canvas.height), near = eye.distance * 0.02;
  return (point) => {
    const ray = add(point, centre, -1), depth = dot(ray, forward);
    if (depth < near) return null;
    return [canvas.width / 2 + (focal * dot(ray, right)) / depth, canvas.height / 2 + (focal * dot(ray, down)) / depth, depth];
  };
}

function frustum(project, position, quaternion, size, colour, width) {
  const corners = [[-1, -0.75, 1.4], [1, -0.75, 1.4], [1, 0.75, 1.4], [-1, 0.75, 1.4]].map((corner) =>
    project(add(position, rotated(quaternion, corner), size)));
  const apex = project(position);
  if (!apex || corners.includes(null)) return;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  corners.forEach((corner, row) => {
    const next = corners[(row + 1) % 4];
    context.moveTo(apex[0], apex[1]);
    context.lineTo(corner[0], corner[1]);
    context.lineTo(next[0], next[1]);
  });
  context.stroke();
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  if (!drawing) return;
  const project = projector(), dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const points = drawing.points;
  for (let row = 0; row < points.length; row += 3) {
    const seen = project([points[row], points[row + 1], points[row + 2]]);
    if (!seen) continue;
    const height = (dot([points[row], points[row + 1], points[row + 2]], up) - drawing.low) / drawing.range;
    context.fillStyle = `hsl(${230 - 190 * Math.min(1, Math.max(0, height))} 55% ${dark ? 65 : 42}%)`;
    const size = Math.max(1.2, (0.006 * lengthOfScene * canvas.height) / seen[2]) * Math.min(devicePixelRatio, 1.5);
    context.fillRect(seen[0], seen[1], size, size);
  }
  const cameras = drawing.cameras;
  for (let row = 0; row < cameras.length; row += 7) {
    frustum(project, cameras.slice(row, row + 3), cameras.slice(row + 3, row + 7), 0.012 * lengthOfScene, style.getPropertyValue("--soft"), 0.6);
  }
  if (found) {
    const mark = style.getPropertyValue("--mark");
    frustum(project, found.position, found.quaternion_wxyz, 0.07 * lengthOfScene, mark, 2.5 * devicePixelRatio);
    const centre = project(found.position);
    if (centre) {
      context.fillStyle = mark;
      context.beginPath();
      context.arc(centre[0], centre[1], 4 * devicePixelRatio, 0, 7);
      context.fill();
    }
  }
}

let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; draw(); });
}

function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

async function showScene(name) {
  if (drawing && drawing.scene === name) return;
  const answer = await request(`scenes/${encodeURIComponent(name)}`);
  if (!answer) return;
  drawing = answer;
  const sum = [0, 0, 0];
  for (let row = 0; row < answer.cameras.length; row += 7) {
    const down = rotated(answer.cameras.slice(row + 3, row + 7), [0, -1, 0]);
    down.forEach((x, axis) => { sum[axis] += x; });
  }
  up = unit(sum); // people hold cameras upright
  const columns = [0, 1, 2].map((axis) => answer.points.filter((_, row) => row % 3 === axis));
  eye.target = columns.map((column) => quantile(column, 0.5));
  lengthOfScene = Math.hypot(...columns.map((column) => quantile(column, 0.9) - quantile(column, 0.1))) || 1;
  const heights = [];
  for (let row = 0; row < answer.points.length; row += 3) heights.push(dot(answer.points.slice(row, row + 3), up));
  drawing.low = quantile(heights, 0.05);
  drawing.range = quantile(heights, 0.95) - drawing.low || 1;
  eye.distance = 1.5 * lengthOfScene;
  redraw();
}

// --- requests ---------------------------------------------------------------------------------------------

async function request(path, options = {}) {
  const key = byId("key").value;
  const headers = key ? { "X-API-Key": key } : {};
  try {
    const response = await fetch(path, { ...options, headers });
    const content = await response.json();
    if (response.status === 401) byId("key-form").hidden = false;
    if (!response.ok) { say(content.detail || `status ${response.status}`, true); return null; }
    return content;
  } catch (problem) {
    say("the service does not answer", true);
    return null;
  }
}

function say(text, isLost = false) {
  byId("status").textContent = text;
  byId("status").className = isLost ? "lost" : "";
}

function fill(rows) {
  byId("answer").replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement("tr");
    for (const text of [name, value]) row.appendChild(document.createElement("td")).textContent = text;
    return row;
  }));
}

const numbers = (values, digits) => values.map((each) => each.toFixed(digits)).join("  ");

async function locate(blob, time) {
  const form = new FormData();
  form.append("image", blob, "image");
  if (byId("scene").value) form.append("scene", byId("scene").value);
  if (time !== undefined) {
    form.append("time", String(time));
    if (found && found.scene === byId("scene").value) {
      form.append("previous", JSON.stringify({ position: found.position, quaternion_wxyz: found.quaternion_wxyz }));
    }
  }
  const answer = await request("locate", { method: "POST", body: form });
  if (!answer) return;
  if (!answer.located) {
    say(`lost: ${answer.reason}`, true);
    fill([["time", `${(1000 * answer.seconds).toFixed(0)} ms`]]);
    return;
  }
  const error = answer.expected_error;
  say(answer.verified ? `verified by ${answer.verification.inliers} inliers` : "not verified");
  fill([
    ["scene", answer.scene],
    [`position (${answer.unit})`, numbers(answer.position, 3)],
    ["quaternion wxyz", numbers(answer.quaternion_wxyz, 4)],
    ["expected error", error ? `${error.meters.toFixed(3)} ${answer.unit}, ${error.degrees.toFixed(2)}°` : "unknown"],
    ["found by", answer.found_by],
    ...(answer.geopose ? [["latitude, longitude", `${answer.geopose.position.lat.toFixed(7)}  ${answer.geopose.position.lon.toFixed(7)}`]] : []),
    ["time", `${(1000 * answer.seconds).toFixed(0)} ms`],
  ]);
  await showScene(answer.scene);
  found = answer;
  redraw();
}

async function locateFile(file) {
  stopWebcam();
  const shown = byId("shown");
  URL.revokeObjectURL(shown.src);
  shown.src = URL.createObjectURL(file);
  shown.hidden = false;
  say("locating …");
  fill([]);
  await locate(file);
}

// --- webcam -----------------------------------------------------------------------------------------------

let stream = null;
function stopWebcam() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  byId("video").hidden = true;
  byId("webcam").textContent = "webcam";
}

async function startWebcam() {
  const video = byId("video");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (problem) {
    say("there is no webcam, or the page may not use it", true);
    return;
  }
  video.srcObject = stream;
  await video.play();
  video.hidden = false;
  byId("shown").hidden = true;
  byId("webcam").textContent = "stop";
  const copy = document.createElement("canvas"), started = performance.now();
  while (stream) {
    copy.width = video.videoWidth;
    copy.height = video.videoHeight;
    copy.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((done) => copy.toBlob(done, "image/jpeg", 0.92));
    await locate(blob, (performance.now() - started) / 1000);
    await new Promise((done) => setTimeout(done, 100));
  }
}

// --- events -----------------------------------------------------------------------------------------------

byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => { if (event.target.files[0]) locateFile(event.target.files[0]); });
byId("webcam").addEventListener("click", () => (stream ? stopWebcam() : startWebcam()));
byId("scene").addEventListener("change", (event) => { if (event.target.value) { found = null; showScene(event.target.value); } });
byId("key-form").addEventListener("submit", (event) => { event.preventDefault(); start(); });
addEventListener("resize", redraw);
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files[0]) locateFile(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => { if (event.clipboardData.files[0]) locateFile(event.clipboardData.files[0]); });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
canvas.addEventListener("pointermove", (event) => {
  if (!event.buttons) return;
  if (event.buttons === 1) {
    eye.yaw -= event.movementX * 0.006;
    eye.pitch = Math.max(-1.55, Math.min(1.55, eye.pitch - event.movementY * 0.006));
  } else {
    const { right, down } = axes(), step = (eye.distance * 1.2) / canvas.clientHeight;
    eye.target = add(add(eye.target, right, -event.movementX * step), down, -event.movementY * step);
  }
  redraw();
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  eye.distance *= Math.exp(event.deltaY * 0.001);
  redraw();
}, { passive: false });

async function start() {
  const answer = await request("scenes");
  if (!answer) return;
  const select = byId("scene");
  select.replaceChildren(select.firstElementChild, ...answer.scenes.map((name) => new Option(name, name)));
  if (answer.scenes.length) await showScene(answer.scenes[0]);
  say("");
}
start();
