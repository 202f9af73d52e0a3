// ScoreExplorer: error rates of a verification system as its threshold moves.

/** Smallest place in ascending values whose entry is at least the limit. */
function firstAtLeast(values, limit) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What happens to all pairs when those with score >= threshold are accepted. */
function outcome(genuine, impostor, threshold) {
  const refused = firstAtLeast(genuine, threshold);
  const rejected = firstAtLeast(impostor, threshold);
  const accepted = genuine.length - refused;
  const admitted = impostor.length - rejected;
  return {
    accepted,
    refused,
    admitted,
    rejected,
    far: admitted / impostor.length,
    frr: refused / genuine.length,
    accuracy: (accepted + rejected) / (genuine.length + impostor.length),
  };
}

/** The trade between both errors, with a point at the current threshold; both axes run from 0 to 100 %. */
function tradeOff(genuine, impostor, range) {
  const plot = element("svg", { viewBox: "0 0 100 100", "aria-hidden": "true", class: "fx-trade" });
  const steps = 400;
  const points = [];
  for (let k = 0; k <= steps; k++) {
    const { far, frr } = outcome(genuine, impostor, range.low + ((range.high - range.low) * k) / steps);
    points.push(`${(100 * far).toFixed(2)},${(100 * frr).toFixed(2)}`);
  }
  const point = element("circle", { r: 3.2, class: "fx-point" });
  plot.append(
    element("path", { d: "M0,0V100H100", class: "fx-axes", "vector-effect": "non-scaling-stroke" }),
    element("path", { d: `M${points.join("L")}`, class: "fx-curve", "vector-effect": "non-scaling-stroke" }),
    point,
  );
  const node = element(
    "div",
    { class: "fx-trade-box" },
    element("span", {}, "TAR \u2191"),
    plot,
    element("span", {}, "FAR \u2192"),
  );
  return {
    node,
    show({ far, frr }) {
      point.setAttribute("cx", 100 * far);
      point.setAttribute("cy", 100 * frr);
    },
  };
}

function confusion() {
  const cells = {};
  const cell = (key, kind) => (cells[key] = element("td", { class: kind }));
  const head = (text) => element("th", { scope: "col" }, text);
  const table = element(
    "table",
    { class: "fx-confusion" },
    element("thead", {}, element("tr", {}, element("td", {}), head("accepted"), head("refused"))),
    element(
      "tbody",
      {},
      element(
        "tr",
        {},
        element("th", { scope: "row" }, "genuine pairs"),
        cell("accepted", "fx-right"),
        cell("refused", "fx-wrong"),
      ),
      element(
        "tr",
        {},
        element("th", { scope: "row" }, "impostor pairs"),
        cell("admitted", "fx-wrong"),
        cell("rejected", "fx-right"),
      ),
    ),
  );
  return { table, cells };
}

function render({ model, el }) {
  const data = model.get("payload");
  const genuine = decode(data.genuine, Float32Array);
  const impostor = decode(data.impostor, Float32Array);
  const { range } = data;
  const share = (values) => histogram(values, range.low, range.high, data.bins).map((count) => count / values.length);
  const tinted = ([red, green, blue], wrong) => `rgba(${red},${green},${blue},${wrong ? 0.95 : 0.4})`;
  const slider = dial({
    label: "Threshold =",
    range,
    series: [
      { counts: share(impostor), fill: (middle, value) => tinted(data.tints.impostor, middle >= value) },
      { counts: share(genuine), fill: (middle, value) => tinted(data.tints.genuine, middle < value) },
    ],
    choose: pick,
  });
  const trade = tradeOff(genuine, impostor, range);
  const { table, cells } = confusion();
  const rates = element("p", { class: "fx-rates", "aria-live": "polite" });
  const legend = element("p", { class: "fx-legend" });
  for (const [name, text] of [
    ["impostor", "impostor pairs"],
    ["genuine", "genuine pairs"],
  ]) {
    legend.append(element("i", { style: `background:${tinted(data.tints[name], false)}` }), `${text}  `);
  }
  legend.append("full colour: pairs decided wrongly");

  el.classList.add("facexai-explorer", "facexai-scores");
  el.replaceChildren(
    element("div", { class: "fx-wide" }, legend, slider.node, jumps(data.marks, pick)),
    element("div", { class: "fx-side" }, element("div", { class: "fx-numbers" }, rates, table), trade.node),
  );

  function pick(value) {
    model.set("t", value);
    model.save_changes();
    draw(value);
  }

  function draw(threshold) {
    const now = outcome(genuine, impostor, threshold);
    const percent = (value) => `${(100 * value).toFixed(2)} %`;
    slider.show(threshold);
    trade.show(now);
    for (const [key, cell] of Object.entries(cells)) cell.textContent = now[key].toLocaleString("en");
    rates.textContent = `FAR ${percent(now.far)}, FRR ${percent(now.frr)}, accuracy ${percent(now.accuracy)}`;
    Object.assign(el.dataset, now, { t: threshold, value: threshold, sum: now.refused + now.admitted });
  }

  // For tests: how many pairs numpy finds decided wrongly at some thresholds.
  el.dataset.expected = JSON.stringify(data.expected);
  model.on("change:t", () => draw(model.get("t")));
  draw(model.get("t"));
}

export default { render };
