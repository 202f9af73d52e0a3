// What the explorers share: decoding of numbers, building of elements, a histogram that stands on its slider, and
// maps painted over faces.
// This text is put in front of an explorer's own file; both together are one ES module without imports.

/** Typed array from base64. */
function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

/** Element with attributes and children; strings become text, never markup. */
function element(name, attributes = {}, ...children) {
  const isVector = ["svg", "rect", "line", "path", "circle", "g"].includes(name);
  const node = isVector ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Number with a true minus. */
function written(value, digits) {
  return value.toFixed(digits).replace("-", "\u2212");
}

/** Number with its sign in front. */
function signed(value, digits) {
  return (value < 0 ? "" : "+") + written(value, digits);
}

let dials = 0;

/**
 * A histogram whose horizontal axis is a slider: drag in either, or use the arrow keys.
 *
 * range: {low, high, step, digits}; series: [{counts, fill(middle, value) -> CSS colour}] over equal bins of the range.
 * Returns {node, show(value)}; `choose` is called with each value that the reader picks.
 */
function dial({ label, range, series, choose }) {
  const { low, high, step, digits } = range;
  const id = `fx-dial-${Math.random().toString(36).slice(2)}-${dials++}`;
  const bins = series[0].counts.length;
  const tallest = Math.max(1e-12, ...series.flatMap((one) => Array.from(one.counts)));
  const plot = element("svg", {
    viewBox: `0 0 ${bins} 100`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
    class: "fx-plot",
  });
  const bars = series.map((one) =>
    Array.from(one.counts, (count, k) => {
      const height = count === 0 ? 0 : Math.max(1, (96 * count) / tallest);
      const bar = element("rect", { x: k, y: 100 - height, width: 1, height });
      plot.append(bar);
      return bar;
    }),
  );
  const line = element("line", { y1: 0, y2: 100, "vector-effect": "non-scaling-stroke", class: "fx-line" });
  plot.append(line);
  const slider = element("input", { type: "range", id, min: low, max: high, step });
  const output = element("output", { for: id });
  slider.addEventListener("input", () => choose(Number(slider.value)));
  follow(plot, (fraction) => {
    const value = low + Math.round((fraction * (high - low)) / step) * step;
    choose(Number(Math.min(high, Math.max(low, value)).toFixed(12)));
  });
  const ends = element(
    "div",
    { class: "fx-ends" },
    element("span", {}, written(low, digits)),
    element("span", {}, written(high, digits)),
  );
  const node = element(
    "div",
    { class: "fx-dial" },
    element("label", { for: id }, label, " ", output),
    element("div", { class: "fx-track" }, plot, slider),
    ends,
  );

  function show(value) {
    slider.value = value;
    output.textContent = written(value, digits + 2).replace(/0{1,2}$/, "");
    const place = (bins * (value - low)) / (high - low);
    line.setAttribute("x1", place);
    line.setAttribute("x2", place);
    series.forEach((one, s) =>
      bars[s].forEach((bar, k) => bar.setAttribute("fill", one.fill(low + ((k + 0.5) * (high - low)) / bins, value))),
    );
  }
  return { node, show };
}

/** Call `move` with the pointer's place across the node, 0 to 1, while it is held down. */
function follow(node, move) {
  const report = (event) => {
    const box = node.getBoundingClientRect();
    move((event.clientX - box.left) / box.width);
  };
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    report(event);
  });
  node.addEventListener("pointermove", (event) => {
    if (node.hasPointerCapture(event.pointerId)) report(event);
  });
}

/** Counts of values in equal bins from low to high. */
function histogram(values, low, high, bins) {
  const counts = new Float64Array(bins);
  for (const value of values) {
    counts[Math.min(bins - 1, Math.max(0, Math.floor((bins * (value - low)) / (high - low))))] += 1;
  }
  return counts;
}

/** Buttons that jump to marked values: [[label, value], ..]. */
function jumps(marks, choose) {
  const row = element("div", { class: "fx-jumps" });
  for (const [label, value] of marks) {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => choose(value));
    row.append(button);
  }
  return row;
}

/** A choice from a list: [[value, label], ..]. */
function menu(label, choices, choose) {
  const select = element("select", {}, ...choices.map(([value, text]) => element("option", { value }, text)));
  select.addEventListener("change", () => choose(select.value));
  return element("label", { class: "fx-menu" }, element("span", {}, label), select);
}

/**
 * Paint a map over its face: similarity in one tint, dissimilarity in the other; as `discriminative`, both in a third.
 *
 * face: {area, grey}; map: `area` numbers; limit: value of full colour; view: which part of the map to show.
 */
function paint(context, image, face, map, limit, data, view) {
  const { power, opaque, similarity, dissimilarity, discriminative } = data.tints;
  for (let p = 0; p < face.area; p++) {
    const value = map[p];
    const hue = view === "discriminative" ? discriminative : value > 0 ? similarity : dissimilarity;
    const hidden = (view === "similarity" && value < 0) || (view === "dissimilarity" && value > 0) || view === "none";
    const alpha = hidden ? 0 : Math.min(1, Math.abs(value) / limit) ** power;
    const grey = face.grey[p];
    for (let c = 0; c < 3; c++) {
      const coloured = opaque * hue[c] + ((1 - opaque) * hue[c] * grey) / 255;
      image.data[4 * p + c] = grey + alpha * (coloured - grey);
    }
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** One face with its name. */
function screen(face, data) {
  const canvas = element("canvas", { width: data.width, height: data.height, role: "img" });
  canvas.setAttribute("aria-label", `${face.role} face with the map laid over it`);
  const node = element("div", { class: "fx-face" }, canvas, element("span", {}, face.role));
  const context = canvas.getContext("2d");
  return { node, context, image: context.createImageData(data.width, data.height) };
}

function css([red, green, blue]) {
  return `rgb(${red},${green},${blue})`;
}

/** The colours of the map from the strongest dissimilarity to the strongest similarity. */
function colourScale({ tints }) {
  const strip = element("canvas", { width: 201, height: 1, "aria-hidden": "true" });
  const context = strip.getContext("2d");
  const image = context.createImageData(201, 1);
  const grey = new Uint8Array(201).fill(225);
  const ramp = Float64Array.from({ length: 201 }, (_, k) => k / 100 - 1);
  paint(context, image, { area: 201, grey }, ramp, 1, { tints }, "both");
  const [least, most] = [element("span"), element("span")];
  const node = element(
    "div",
    { class: "fx-scale" },
    strip,
    element("div", { class: "fx-ends" }, least, element("span", {}, "0"), most),
  );
  return {
    node,
    show(limit) {
      least.textContent = `\u2212${limit.toPrecision(3)}  lowers the score`;
      most.textContent = `raises the score  ${limit.toPrecision(3)}`;
    },
  };
}

/** Red channel of a picture, with its width. */
async function readSheet(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const [width, height] = [picture.naturalWidth, picture.naturalHeight];
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, codes: Uint8Array.from({ length: width * height }, (_, p) => data[4 * p]) };
}

/** One tile of a sheet of equal tiles. */
function tile(sheet, row, column, { height, width }) {
  const codes = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    const from = (row * height + y) * sheet.width + column * width;
    codes.set(sheet.codes.subarray(from, from + width), y * width);
  }
  return codes;
}

/** The model of a page without a kernel: it keeps what it is given. */
function stillModel(state) {
  return { get: (key) => state[key], set: (key, value) => (state[key] = value), save_changes() {}, on() {} };
}
