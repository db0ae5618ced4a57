"use strict";
// The face shown is the latent `here()` plus the edits; the link in the address holds both.
const $ = (id) => document.getElementById(id);
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
const TABS = ["Edit", "Traverse", "Interpolate", "Sample", "Neighbours"];
const FACES = [...Array(8).keys()], REACH = 4;  // in a grid; standard deviations of the prior
const small = make("canvas");
let model, ort, session, random, written, turn = 0, tab = TABS[0];
let face, chosen, ends, edits = {};  // a face is {z, name}; `chosen` is the current one before it was traversed
let fraction, temperature, distance, attributes = [], dimensions = [];  // sliders

// The model

async function unpacked(id) {
  const bytes = Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0));
  $(id).remove();
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function load() {
  model = JSON.parse(new TextDecoder().decode(await unpacked("model")));
  const script = new Blob([await unpacked("runtime-script")], { type: "text/javascript" });
  ort = await import(URL.createObjectURL(script));
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: await unpacked("runtime-wasm") });
  session = await ort.InferenceSession.create(await unpacked("decoder"), { executionProviders: ["wasm"] });
  small.width = small.height = model.size;
}

let before = Promise.resolve();
function decode(z) {  // a latent to ImageData, one after the other
  const run = before.then(() => session.run({ z: new ort.Tensor("float32", Float32Array.from(z), [1, z.length]) }));
  before = run.catch(() => {});
  return run.then(({ images }) => {
    const image = new ImageData(model.size, model.size), plane = model.size ** 2;
    for (let i = 0; i < plane; i++) {  // the assignment rounds
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * images.data[(c % model.channels) * plane + i];
      image.data[4 * i + 3] = 255;
    }
    return image;
  });
}

// Latents

function randoms(seed) {  // mulberry32, and the normal distribution by Box and Muller
  const uniform = () => {
    let t = (seed = (seed + 0x6d2b79f5) | 0);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

function sample(prior, { uniform, normal }, scale = 1) {
  let k = 0, rest = uniform() - prior.weights[0];
  while (rest > 0 && k < prior.weights.length - 1) rest -= prior.weights[++k];
  const eps = Float32Array.from({ length: model.latent_dim }, () => scale * normal());
  if (!prior.factors) return eps;
  const factor = prior.factors[k] ?? prior.factors[0];  // lower triangular, row by row; one may be shared by all
  return eps.map((_, i) => factor[i].reduce((sum, l, j) => sum + l * eps[j], prior.means[k][i]));
}

const drawn = (seed) => ({ z: sample(model.priors[0], randoms(seed)), name: `sample 1, seed ${seed}` });
const fresh = () => drawn(Math.floor(random.uniform() * 1e6));

function between(a, b, t) {  // a straight line, or a great circle
  const dot = (u, v) => u.reduce((sum, x, i) => sum + x * v[i], 0);
  const angle = Math.acos(Math.max(-1, Math.min(1, dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))));
  const great = $("path").value === "spherical" && Math.min(angle, Math.PI - angle) > 1e-4;
  const [u, v] = [1 - t, t].map((part) => (great ? Math.sin(part * angle) / Math.sin(angle) : part));
  return a.map((x, i) => u * x + v * b[i]);
}

const here = () => (tab === "Interpolate" ? between(ends[0].z, ends[1].z, fraction.value) : face.z);
const edited = (z) => Object.entries(edits).reduce(
  (sum, [name, strength]) => sum.map((x, i) => x + strength * model.vectors[name][i]), z);

// Pictures

function paint(canvas, image) {
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function newest(work) {  // one call at a time; of those that arrive meanwhile, the last is answered
  let busy = false, again;
  return async () => {
    again = true;
    if (busy) return;
    for (busy = true; again; ) {
      again = false;
      await work().catch((error) => say(`The face could not be drawn: ${error.message}`));
    }
    busy = false;
  };
}

const show = newest(async () => {
  const moved = Object.entries(edits).map(([name, value]) => `${words(name)} ${value > 0 ? "+" : ""}${value}`);
  const name = tab === "Interpolate" ? `between ${ends[0].name} and ${ends[1].name}` : face.name;
  paint($("face"), await decode(edited(here())));
  $("caption").textContent = [name, ...moved].join(", ");
  $("face").setAttribute("aria-label", $("caption").textContent);
  $("face").dispatchEvent(new Event("drawn"));
});

async function grid(id, faces, take) {  // of faces that are buttons
  while ($(id).children.length < faces.length) {
    $(id).append(make("button"));
    $(id).lastChild.append(make("canvas", { width: 208, height: 208 }));
  }
  for (const [i, entry] of faces.entries()) {
    const button = Object.assign($(id).children[i], { title: entry.name, onclick: () => take(entry, i) });
    button.setAttribute("aria-label", entry.name);
    paint(button.firstChild, await decode(edited(entry.z)));
  }
}

const panels = {
  Interpolate: () => grid("ends", ends, (_, end) => choose(fresh(), end)),
  Sample: () => {
    const seed = Math.floor($("seed").value), source = randoms(seed), prior = model.priors[$("prior").value];
    const faces = FACES.map((i) => ({ z: sample(prior, source, temperature.value), name: `sample ${i + 1}, seed ${seed}` }));
    return grid("samples", faces, choose);
  },
  Neighbours: () => {
    const t = distance.value, source = randoms(turn);
    const faces = FACES.map((i) => {
      const other = sample(model.priors[0], source);
      const z = face.z.map((x, d) => Math.sqrt(1 - t * t) * x + t * other[d]);  // which keeps the variance
      return { z, name: `neighbour ${i + 1}` };
    });
    return grid("neighbours", faces, (entry) => choose(entry));
  },
};
const beside = newest(async () => panels[tab]?.());

// The page

const words = (name) => name.replaceAll("_", " ");
const say = (text) => ($("message").textContent = text);

function choose(entry, end = 1) {  // make a face the current one, or on Interpolate an end of the path
  if (tab === "Interpolate") ends[end] = entry;
  else face = chosen = entry;
  refresh(true);
}

function refresh(remember) {
  for (const { index, set } of dimensions) set(face.z[index]);
  for (const { name, set } of attributes) set(edits[name] ?? 0);
  say("");
  show();
  beside();
  write(remember);
}

function slider(parent, label, [min, max, start, step], act) {
  const row = make("label", { className: min < 0 ? "slider signed" : "slider" }), number = make("span");
  const control = make("input", { type: "range", min, max, step, value: start });
  const tell = (value) => (number.textContent = value.toFixed(`${step}`.length - 2).replace(/^-([0.]+)$/, "$1"));
  const set = (value) => { control.value = value; tell(value); };
  control.oninput = () => { tell(+control.value); act(+control.value); };
  control.onchange = () => write();
  control.setAttribute("aria-label", label);  // without the number, which is read anyway
  row.append(make("span", { textContent: label, title: label }), control, number);
  parent.append(row);
  set(start);
  return { row, label, set, get value() { return +control.value; } };
}

function edit() {
  const none = "There are no attributes to edit: no attribute vectors were saved with the model.";
  if (!Object.keys(model.vectors).length) return void ($("Edit").textContent = none);
  for (const [title, names] of Object.entries(model.groups)) {
    const group = make("fieldset"), sliders = make("div", { className: "sliders" });
    group.append(make("legend", { textContent: title }), sliders);
    $("attributes").append(group);
    for (const name of names) {
      const act = (value) => { value ? (edits[name] = value) : delete edits[name]; show(); };
      attributes.push(Object.assign(slider(sliders, words(name), [-3, 3, 0, 0.1], act), { name }));
    }
  }
  $("reset-edits").onclick = () => { edits = {}; refresh(); };
  $("find").oninput = () => {
    const text = $("find").value.trim().toLowerCase();
    for (const { row, label } of attributes) row.hidden = !label.toLowerCase().includes(text);
    for (const group of $("attributes").children) group.hidden = !group.querySelector(".slider:not([hidden])");
    say(attributes.every(({ row }) => row.hidden) ? `No attribute contains "${text}".` : "");
  };
}

function traverse() {
  $("about-dimensions").textContent = model.about_dimensions;
  for (const { index, label } of model.dimensions) {
    const act = (value) => { face = { ...face, z: face.z.map((x, i) => (i === index ? value : x)) }; show(); };
    dimensions.push(Object.assign(slider($("dimensions"), label, [-REACH, REACH, 0, 0.1], act), { index }));
  }
  $("reset-dimensions").onclick = () => { face = chosen; refresh(); };
}

function open(name) {
  tab = name;
  for (const button of $("tabs").children) {
    const selected = button.textContent === name;
    button.setAttribute("aria-selected", selected);
    button.tabIndex = selected ? 0 : -1;
    $(button.textContent).hidden = !selected;
  }
  if (face) refresh();
}

function tabs() {
  for (const name of TABS) {
    const button = make("button", { id: `tab-${name}`, textContent: name, onclick: () => open(name) });
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", name);
    $(name).setAttribute("aria-labelledby", button.id);
    $("tabs").append(button);
  }
  $("tabs").onkeydown = ({ key }) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!by) return;
    open(TABS.at((TABS.indexOf(tab) + by) % TABS.length));
    $(`tab-${tab}`).focus();
  };
  open(tab);
}

// The link

function write(remember) {  // remembered, Back returns to the face before
  const bytes = new Uint8Array(Float32Array.from(here()).buffer);
  const latent = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  written = `#${new URLSearchParams({ latent, ...edits })}`;
  if (written === location.hash) return;
  remember ? (location.hash = written) : location.replace(written);
}

function read(link) {
  const { latent = "", ...strengths } = Object.fromEntries(new URLSearchParams(link.slice(1)));
  try {
    const bytes = Uint8Array.from(atob(latent.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const z = new Float32Array(bytes.buffer);
    if (z.length !== model.latent_dim || !z.every(Number.isFinite)) throw new Error();
    face = chosen = { z, name: "face of the link" };
  } catch {
    return say("The link does not hold a latent of this model.");
  }
  edits = {};
  for (const [name, value] of Object.entries(strengths)) {
    if (Object.hasOwn(model.vectors, name) && Math.abs(+value) <= 3) edits[name] = +value;
  }
  open(tab === "Interpolate" ? "Edit" : tab);
}

function start() {
  random = randoms(Date.now());
  edit();
  traverse();
  fraction = slider($("fraction"), "Fraction of the way", [0, 1, 0.5, 0.01], show);
  temperature = slider($("temperature"), "Temperature", [0, 1.5, 1, 0.05], beside);
  distance = slider($("distance"), "Distance", [0.05, 0.95, 0.4, 0.05], beside);
  model.priors.forEach(({ text }, i) => $("prior").add(new Option(text, i)));
  ends = [drawn(0), drawn(1)];
  face = chosen = ends[0];
  $("new").onclick = () => choose(fresh());
  $("draw").onclick = () => { $("seed").stepUp(); beside(); };
  $("seed").oninput = $("prior").onchange = beside;
  $("others").onclick = () => { turn++; beside(); };
  $("path").onchange = show;
  ["from", "to"].forEach((id, end) => { $(id).onclick = () => choose(face, end); });
  $("save").onclick = () => $("face").toBlob(
    (blob) => make("a", { href: URL.createObjectURL(blob), download: `${model.name}.png` }).click());
  $("copy").onclick = () => (navigator.clipboard?.writeText(location.href) ?? Promise.reject()).then(
    () => say("Copied the address of this page with the face."), () => say("The address of this page holds the face."));
  window.onhashchange = () => location.hash !== written && read(location.hash);
  window.dfcvae = { decode, latent: () => edited(here()) };  // for the console
  const link = location.hash;
  refresh();
  if (link) read(link);
}

tabs();
load().then(start).catch((error) => say(
  `The model could not be loaded: ${error.message}. The page needs Chrome or Edge 97, Firefox 113, Safari 16.4, or newer.`));
