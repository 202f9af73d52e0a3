// FrontalizationExplorer: what a frontalizer did to one face, as the face turns.

/** Both scores over the yaw, the threshold, and a line at the yaw that is shown; drag in it. */
function scoreCurves({ yaws, before, after, threshold, tints }, choose) {
  const [low, high] = [yaws[0], yaws[yaws.length - 1]];
  const all = [...before, ...after, ...(threshold === null ? [] : [threshold])];
  const [bottom, top] = [Math.min(0, ...all), Math.max(...all, 1)];
  const x = (yaw) => (100 * (yaw - low)) / (high - low);
  const y = (score) => 96 - (92 * (score - bottom)) / (top - bottom);
  const plot = element("svg", {
    viewBox: "0 0 100 100",
    preserveAspectRatio: "none",
    "aria-hidden": "true",
    class: "fx-plot",
  });
  const draw = (values, style) => {
    const d = `M${values.map((value, k) => `${x(yaws[k]).toFixed(2)},${y(value).toFixed(2)}`).join("L")}`;
    plot.append(element("path", { d, fill: "none", "stroke-width": 2, "vector-effect": "non-scaling-stroke", ...style }));
  };
  if (threshold !== null) {
    draw(yaws.map(() => threshold), { stroke: "#8a97a6", "stroke-width": 1, "stroke-dasharray": "2 3" });
  }
  draw(before, { stroke: "#8a97a6", "stroke-dasharray": "6 4" });
  draw(after, { stroke: css(tints.similarity) });
  const line = element("line", { y1: 0, y2: 100, "vector-effect": "non-scaling-stroke", class: "fx-line" });
  plot.append(line);
  follow(plot, (fraction) => {
    const wanted = low + fraction * (high - low);
    choose(yaws.reduce((best, yaw) => (Math.abs(yaw - wanted) < Math.abs(best - wanted) ? yaw : best)));
  });
  return {
    node: plot,
    show(yaw) {
      line.setAttribute("x1", x(yaw));
      line.setAttribute("x2", x(yaw));
    },
  };
}

/** Slider over the yaws with the curves on it. */
function yawSlider(data, choose) {
  const { yaws } = data;
  const id = `fx-yaw-${Math.random().toString(36).slice(2)}`;
  const [low, high] = [yaws[0], yaws[yaws.length - 1]];
  const slider = element("input", { type: "range", id, min: low, max: high, step: yaws[1] - low });
  const output = element("output", { for: id });
  const curves = scoreCurves(data, choose);
  slider.addEventListener("input", () => choose(Number(slider.value)));
  const legend = element("p", { class: "fx-legend" }, element("i", { style: "background:#8a97a6" }), "score before  ");
  legend.append(element("i", { style: `background:${css(data.tints.similarity)}` }), "after");
  if (data.threshold !== null) legend.append(`  dotted: threshold ${written(data.threshold, 2)}`);
  const ends = element(
    "div",
    { class: "fx-ends" },
    element("span", {}, `${written(low, 0)}°`),
    element("span", {}, `${written(high, 0)}°`),
  );
  const label = element("label", { for: id }, "Yaw of the turned face: ", output);
  return {
    node: element("div", { class: "fx-dial" }, label, legend, element("div", { class: "fx-track" }, curves.node, slider), ends),
    show(yaw) {
      slider.value = yaw;
      output.textContent = `${written(yaw, 0)}°`;
      curves.show(yaw);
    },
  };
}

/** What is known of the pair at this yaw. */
function yawFacts() {
  const [note, table] = [element("p"), element("table")];
  const rows = {};
  for (const [key, label] of [
    ["before", "score before"],
    ["after", "score after"],
    ["angle", "yaw that the pose network sees"],
    ["module", "frontalizer"],
    ["limit", "full colour at"],
  ]) {
    rows[key] = element("td");
    table.append(element("tr", {}, element("th", { scope: "row" }, label), rows[key]));
  }
  return { note, rows, node: element("div", {}, note, table) };
}

async function render({ model, el }) {
  const data = model.get("payload");
  const state = { yaw: model.get("t"), kind: data.start };
  el.classList.add("facexai-explorer", "facexai-frontalization");
  const sheet = await readSheet(data.sheet);
  const area = data.height * data.width;
  const screens = ["turned", "frontal"].map((role) => screen({ role }, data));
  const slider = yawSlider(data, (yaw) => change({ yaw }));
  const facts = yawFacts();
  const scale = colourScale(data);
  const spoken = element("p", { class: "fx-spoken", "aria-live": "polite" });
  const kinds = menu("Map", data.kinds.map(({ label }, k) => [String(k), label]), (kind) => change({ kind: Number(kind) }));
  kinds.querySelector("select").value = String(state.kind);

  el.replaceChildren(
    element(
      "div",
      { class: "fx-stage" },
      element("div", { class: "fx-faces" }, ...screens.map((one) => one.node)),
      scale.node,
    ),
    element("div", { class: "fx-panel" }, kinds, slider.node, facts.node, spoken),
  );

  function change(choice) {
    Object.assign(state, choice);
    draw();
    model.set("t", state.yaw);
    model.save_changes();
  }

  function draw() {
    const row = data.yaws.indexOf(state.yaw);
    const kind = data.kinds[state.kind];
    let sum = 0;
    screens.forEach(({ context, image }, side) => {
      const face = { area, grey: tile(sheet, row, side, data) };
      const codes = tile(sheet, row, 2 + 2 * state.kind + side, data);
      const map = Float64Array.from(codes, (code) => Math.max(-1, (code - 128) / 127));
      sum += map.reduce((total, value) => total + value, 0);
      paint(context, image, face, map, 1, data, kind.signed ? "both" : "discriminative");
    });
    slider.show(state.yaw);
    scale.show(kind.limit);
    scale.node.style.visibility = kind.signed ? "visible" : "hidden";
    const [before, after] = [data.before[row], data.after[row]];
    facts.note.textContent = kind.note;
    facts.rows.before.textContent = written(before, 3);
    facts.rows.after.textContent = `${written(after, 3)} (${signed(after - before, 3)})`;
    facts.rows.angle.textContent = `${written(data.seen[row], 0)}°`;
    facts.rows.module.textContent = data.frontalized[row] ? "moves the embedding" : "lets it pass";
    facts.rows.limit.textContent = kind.limit.toPrecision(3);
    spoken.textContent = `Yaw ${state.yaw} degrees, ${kind.label}: score ${before.toFixed(3)} before, ${after.toFixed(3)} after.`;
    Object.assign(el.dataset, { kind: kind.name, t: state.yaw, value: state.yaw, sum });
  }

  model.on("change:t", () => {
    state.yaw = model.get("t");
    draw();
  });
  // For tests: the sum of the map that is shown first, at some yaws.
  el.dataset.expected = JSON.stringify(data.expected);
  draw();
}

export default { render };
