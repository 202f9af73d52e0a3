// GalleryExplorer: what many methods say of the same pairs, on one wall.

/** Values in [-1, 1] of the strongest `percent` of the pixels of a map, 0 elsewhere. */
function strongest(codes, percent) {
  const counts = new Uint32Array(129);
  for (const code of codes) counts[Math.abs(code - 128)] += 1;
  const wanted = Math.ceil((percent * codes.length) / 100);
  let level = 128;
  for (let shown = counts[level]; shown < wanted && level > 0; shown += counts[level]) level -= 1;
  return Float64Array.from(codes, (code) => {
    const value = code - 128;
    return Math.abs(value) >= level ? Math.max(-1, value / 127) : 0;
  });
}

/** The methods as a wall of radio buttons, each with its map as a picture. */
function wall({ groups, methods, width, height }, choose) {
  const name = `fx-wall-${Math.random().toString(36).slice(2)}`;
  const tiles = methods.map(({ name: label }, m) => {
    const input = element("input", { type: "radio", name, value: m });
    input.addEventListener("change", () => choose(m));
    const canvas = element("canvas", { width, height, "aria-hidden": "true" });
    const context = canvas.getContext("2d");
    const node = element("label", { class: "fx-tile" }, input, canvas, element("span", {}, label));
    return { node, input, context, image: context.createImageData(width, height) };
  });
  const rows = groups.map(([title, members]) =>
    element(
      "div",
      { class: "fx-group" },
      element("p", {}, title),
      element("div", { class: "fx-tiles" }, ...members.map((m) => tiles[m].node)),
    ),
  );
  const legend = element("legend", { class: "fx-spoken" }, "Method");
  return { node: element("fieldset", { class: "fx-wall" }, legend, ...rows), tiles };
}

/** Slider for the share of pixels that are shown. */
function shareSlider(choose) {
  const id = `fx-share-${Math.random().toString(36).slice(2)}`;
  const input = element("input", { type: "range", id, min: 5, max: 100, step: 5 });
  const output = element("output", { for: id });
  input.addEventListener("input", () => choose(Number(input.value)));
  const label = element("label", { for: id }, "Strongest pixels shown: ", output);
  return {
    node: element("div", { class: "fx-dial" }, label, input),
    show(percent) {
      input.value = percent;
      output.textContent = `${percent} %`;
    },
  };
}

/** What is known of the pair and of the map. */
function galleryFacts() {
  const [title, note, table] = [element("p", { class: "fx-rates" }), element("p"), element("table")];
  const rows = {};
  for (const [key, label] of [
    ["score", "score of the pair"],
    ["truth", "in truth"],
    ["share", "similarity : dissimilarity"],
    ["limit", "full colour at"],
  ]) {
    rows[key] = element("td");
    table.append(element("tr", {}, element("th", { scope: "row" }, label), rows[key]));
  }
  return { title, note, rows, node: element("div", {}, title, note, table) };
}

async function render({ model, el }) {
  const data = model.get("payload");
  const state = { pair: 0, method: data.start, view: "both", percent: model.get("t") };
  el.classList.add("facexai-explorer", "facexai-gallery");
  const sheets = await Promise.all(data.pairs.map((pair) => readSheet(pair.sheet)));
  const area = data.height * data.width;
  const faces = sheets.map((sheet) => [0, 1].map((side) => ({ area, grey: tile(sheet, 0, side, data) })));
  const screens = ["probe", "gallery"].map((role) => screen({ role }, data));
  const { node: wallNode, tiles } = wall(data, (method) => change({ method }));
  const slider = shareSlider((percent) => change({ percent }));
  const facts = galleryFacts();
  const scale = colourScale(data);
  const spoken = element("p", { class: "fx-spoken", "aria-live": "polite" });
  const pairs = data.pairs.map(({ name }, k) => [String(k), name]);
  const views = [
    ["both", "similarity and dissimilarity"],
    ["similarity", "similarity only"],
    ["dissimilarity", "dissimilarity only"],
    ["discriminative", "strength, either way"],
    ["none", "faces only"],
  ];

  el.replaceChildren(
    element(
      "div",
      { class: "fx-stage" },
      element("div", { class: "fx-faces" }, ...screens.map((one) => one.node)),
      scale.node,
    ),
    element(
      "div",
      { class: "fx-panel" },
      menu("Pair", pairs, (pair) => change({ pair: Number(pair) })),
      menu("Show", views, (view) => change({ view })),
      slider.node,
      facts.node,
      spoken,
    ),
    wallNode,
  );

  function change(choice) {
    Object.assign(state, choice);
    draw();
    model.set("t", state.percent);
    model.save_changes();
  }

  const values = (method, side) => strongest(tile(sheets[state.pair], method + 1, side, data), state.percent);

  /** Maps without a sign have a tint of their own. */
  const viewOf = (method) => (data.methods[method].unsigned && state.view !== "none" ? "discriminative" : state.view);

  function draw() {
    const started = performance.now();
    const [pair, view] = [faces[state.pair], viewOf(state.method)];
    const maps = screens.map((_, side) => values(state.method, side));
    screens.forEach(({ context, image }, side) => paint(context, image, pair[side], maps[side], 1, data, view));
    tiles.forEach(({ context, image }, method) =>
      paint(context, image, pair[0], values(method, 0), 1, data, viewOf(method)),
    );
    tiles[state.method].input.checked = true;
    slider.show(state.percent);
    report(maps);
    el.dataset.ms = (performance.now() - started).toFixed(2);
  }

  function report(maps) {
    const [pair, method] = [data.pairs[state.pair], data.methods[state.method]];
    const total = (keep) => maps.flatMap((map) => Array.from(map)).reduce((sum, v) => sum + (keep(v) ? v : 0), 0);
    const [positive, negative] = [total((value) => value > 0), -total((value) => value < 0)];
    const share = Math.round((100 * positive) / Math.max(1e-12, positive + negative));
    facts.title.textContent = method.name;
    facts.note.textContent = method.note;
    facts.rows.score.textContent = written(pair.score, 3);
    facts.rows.truth.textContent = pair.truth;
    facts.rows.share.textContent = method.unsigned ? "no sign" : `${share} % : ${100 - share} %`;
    facts.rows.limit.textContent = pair.limits[state.method].toPrecision(3);
    scale.show(pair.limits[state.method]);
    const balance = method.unsigned ? "it has no sign" : `similarity carries ${share} per cent of it`;
    spoken.textContent = `${pair.name}, ${method.name}: the strongest ${state.percent} per cent of the map; ${balance}.`;
    el.dataset.pair = pair.name;
    el.dataset.method = method.name;
    el.dataset.view = state.view;
    el.dataset.t = el.dataset.value = state.percent;
    el.dataset.sum = positive - negative;
  }

  model.on("change:t", () => {
    state.percent = model.get("t");
    draw();
  });
  // For tests: the sum of the values that are shown at some positions of the slider.
  el.dataset.expected = JSON.stringify(data.expected);
  draw();
}

export default { render };
