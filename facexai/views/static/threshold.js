// ThresholdExplorer: the signed map S(T) = sum_i r_i (w_i - T) of both faces, recomputed as T moves.

/** Unpack the payload that facexai.views.explorers wrote. */
function unpack(data) {
  const area = data.height * data.width;
  const level = ({ codes, scale, offset }) =>
    Float64Array.from(decode(codes, Uint16Array), (code) => offset + scale * code);
  const windows = (face) => {
    const codes = decode(face.windows, Uint8Array);
    let start = 0;
    return face.boxes.map(([top, left, height, width]) => {
      const one = { top, left, height, width, codes: codes.subarray(start, start + height * width) };
      start += height * width;
      return one;
    });
  };
  return data.faces.map((face) => ({
    area,
    role: face.role,
    grey: decode(face.grey, Uint8Array),
    weights: decode(face.weights, Float32Array),
    weighted: level(face.weighted), // sum of w_i r_i over the channels without a window of their own
    plain: level(face.plain), //       sum of r_i over the same
    windows: windows(face),
  }));
}

/** Add r_i * factor for the channel in place k of the list of single channels. */
function addChannel(map, face, width, k, factor) {
  const { top, left, height, width: across, codes } = face.windows[k];
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0, to = (top + y) * width + left; x < across; x++, from++, to++)
      map[to] += (factor * codes[from]) / 255;
  }
}

/** S(T) of one face: of all channels, or of the one in place `only`. */
function signedMap(face, data, threshold, only) {
  const map = new Float64Array(face.area);
  if (only === null) {
    for (let p = 0; p < face.area; p++) map[p] = face.weighted[p] - threshold * face.plain[p];
  }
  data.channels.forEach((channel, k) => {
    if (only === null || only === k) addChannel(map, face, data.width, k, face.weights[channel] - threshold);
  });
  return map;
}

function readouts() {
  const rows = {};
  const table = element("table", { class: "fx-table" });
  for (const [key, label] of [
    ["score", "score"],
    ["whole", "sum of w"],
    ["taken", "\u2212 C \u00d7 T"],
    ["sum", "sum of (w \u2212 T)"],
    ["above", "channels above T"],
    ["share", "similarity : dissimilarity"],
  ]) {
    rows[key] = element("td", {});
    table.append(element("tr", {}, element("th", { scope: "row" }, label), rows[key]));
  }
  return { table, rows };
}

function render({ model, el }) {
  const data = model.get("payload");
  const faces = unpack(data);
  const screens = faces.map((face) => screen(face, data));
  const state = { threshold: model.get("t"), only: null, view: "both" };
  const { similarity, dissimilarity } = data.tints;
  const everyWeight = faces.flatMap((face) => Array.from(face.weights));
  const slider = dial({
    label: "Threshold T =",
    range: data.range,
    series: [
      {
        counts: histogram(everyWeight, data.range.low, data.range.high, 60),
        fill: (middle, value) => css(middle >= value ? similarity : dissimilarity),
      },
    ],
    choose: pickThreshold,
  });
  const { table, rows } = readouts();
  const scale = colourScale(data);
  const spoken = element("p", { class: "fx-spoken", "aria-live": "polite" });
  const single = data.channels.map((channel, k) => {
    const [probe, gallery] = faces.map((face) => signed(face.weights[channel], data.range.digits));
    return [String(k), `channel ${channel} (w ${probe === gallery ? probe : `${probe}, ${gallery}`})`];
  });
  const shown = [
    ["both", "similarity and dissimilarity"],
    ["similarity", "similarity only"],
    ["dissimilarity", "dissimilarity only"],
    ["none", "faces only"],
  ];

  el.classList.add("facexai-explorer", "facexai-threshold");
  el.replaceChildren(
    element(
      "div",
      { class: "fx-stage" },
      element("div", { class: "fx-faces" }, ...screens.map((one) => one.node)),
      scale.node,
      menu("Channels", [["all", `all ${data.count}`], ...single], pickChannel),
      menu("Show", shown, pickView),
    ),
    element("div", { class: "fx-panel" }, slider.node, jumps(data.marks, pickThreshold), table, spoken),
  );

  function pickThreshold(value) {
    state.threshold = value;
    draw();
    model.set("t", value);
    model.save_changes();
  }

  function pickChannel(value) {
    state.only = value === "all" ? null : Number(value);
    draw();
  }

  function pickView(value) {
    state.view = value;
    draw();
  }

  function draw() {
    const started = performance.now();
    const maps = faces.map((face) => signedMap(face, data, state.threshold, state.only));
    const limit = Math.max(
      1e-12,
      ...maps.map((map) => map.reduce((most, value) => Math.max(most, Math.abs(value)), 0)),
    );
    faces.forEach((face, k) => paint(screens[k].context, screens[k].image, face, maps[k], limit, data, state.view));
    slider.show(state.threshold);
    report(maps, limit);
    el.dataset.ms = (performance.now() - started).toFixed(2);
  }

  function report(maps, limit) {
    const { threshold, only } = state;
    const sums = faces.map((face) => face.weights.reduce((sum, weight) => sum + weight - threshold, 0));
    const above = faces.map((face) => face.weights.reduce((count, weight) => count + (weight > threshold ? 1 : 0), 0));
    const total = (keep) =>
      maps.reduce((sum, map) => sum + map.reduce((part, value) => part + (keep(value) ? value : 0), 0), 0);
    const positive = total((value) => value > 0);
    const negative = -total((value) => value < 0);
    const share = Math.round((100 * positive) / Math.max(1e-12, positive + negative));
    const both = (values, write) =>
      write(values[0]) === write(values[1]) ? write(values[0]) : values.map(write).join(", ");
    rows.score.textContent = written(data.score, 3);
    rows.whole.textContent = both(sums, (value) => written(value + data.count * threshold, 3));
    rows.taken.textContent = signed(0 - data.count * threshold, 3);
    rows.sum.textContent = both(sums, (value) => signed(value, 3));
    rows.above.textContent = `${both(above, String)} of ${data.count}`;
    rows.share.textContent = `${share} % : ${100 - share} %`;
    scale.show(limit);
    spoken.textContent = `T ${threshold.toPrecision(3)}: similarity carries ${share} per cent of the map.`;
    el.dataset.t = el.dataset.value = threshold;
    el.dataset.sum = positive - negative;
    el.dataset.channel = only === null ? "all" : data.channels[only];
  }

  model.on("change:t", () => {
    state.threshold = model.get("t");
    draw();
  });
  // For tests: what numpy gets for the sum of the map at some thresholds, without rounding.
  el.dataset.expected = JSON.stringify(data.expected);
  for (const [key, value] of Object.entries(data.numpy)) el.dataset[key] = value;
  draw();
}

export default { render };
