// The section Explore: the map, two markers against each other, and how clusters merge from cut to cut.

function shortened(name, longest) {
  return name.length <= longest ? name : name.slice(0, longest - 1) + "\u2026";
}

// Which cluster of the state's cut has which slot.
function clusterOfSlot(state) {
  const clusters = new Map();
  state.data.cuts.slots[state.cut].forEach((slot, index) => clusters.set(slot, index + 1));
  return clusters;
}

function slotsOfChoice(state) {
  if (state.experts.size === 0) return null;
  const slots = state.data.cuts.slots[state.cut];
  return new Set(Array.from(state.chosenIn(state.cut), cluster => slots[cluster - 1]));
}

// A plot that follows the state: its colours, the highlight, clicks and names on hover.
function connectPlot(plot, cells, state, hover, describeCell) {
  let cut = null;
  let clusters = null;
  function update() {
    if (cut !== state.cut) {
      cut = state.cut;
      plot.slots = slotsAt(cells, cut);
      clusters = clusterOfSlot(state);
    }
    plot.chosen = slotsOfChoice(state);
    plot.draw();
  }
  plot.canvas.addEventListener("click", event => {
    const cell = plot.nearest(event);
    const add = event.ctrlKey || event.metaKey || event.shiftKey;
    if (cell !== null) state.choose([clusters.get(plot.slots[cell])], state.cut, add);
    else if (!add && state.experts.size > 0) state.clear();
  });
  plot.canvas.addEventListener("mousemove", event => {
    const cell = plot.nearest(event);
    plot.canvas.classList.toggle("over", cell !== null);
    if (cell === null) {
      hover.hide();
      return;
    }
    const cluster = clusters.get(plot.slots[cell]);
    const lines = state.isMain
      ? describeCluster(state.data, cluster)
      : ["cluster " + cluster + " of " + state.data.cuts.numbers[state.cut], describeRelatives(state.data, state.cut, cluster)];
    hover.show(event, [...lines, ...describeCell(cell)]);
  });
  plot.canvas.addEventListener("mouseleave", () => hover.hide());
  state.listen(update);
  update();
}

function median(values) {
  const sorted = Float32Array.from(values).sort();
  return sorted[sorted.length >> 1];
}

// The number of each cluster, at the cell of it that is nearest to the median of its cells.
function numberClusters(plot, state) {
  const points = new Map();
  plot.slots.forEach((slot, cell) => {
    if (!points.has(slot)) points.set(slot, []);
    points.get(slot).push(cell);
  });
  return Array.from(clusterOfSlot(state))
    .filter(([slot]) => points.has(slot))
    .map(([slot, cluster]) => {
      const cells = points.get(slot);
      const x = median(cells.map(cell => plot.x[cell]));
      const y = median(cells.map(cell => plot.y[cell]));
      const away = cell => (plot.x[cell] - x) ** 2 + (plot.y[cell] - y) ** 2;
      const middle = cells.reduce((best, cell) => (away(cell) < away(best) ? cell : best));
      const spread = Math.sqrt(median(cells.map(away)));
      return { slot, text: String(cluster), x: plot.x[middle], y: plot.y[middle], spread };
    });
}

function makeMap(state, hover) {
  const { map, colours } = state.data;
  const plot = new PointPlot(document.getElementById("map-plot"), colours);
  plot.x = Float32Array.from(map.places.subarray(0, map.count), word => word / 65535);
  plot.y = Float32Array.from(map.places.subarray(map.count), word => word / 65535);
  let numbers = { cut: null, labels: [] };
  plot.decorate = (context, colour) => {
    if (numbers.cut !== state.cut) numbers = { cut: state.cut, labels: numberClusters(plot, state) };
    const taken = [];
    for (const label of numbers.labels) {
      const small = label.spread * plot.width < 8; // its number would hide it, and stands above
      const [x, y] = [plot.across(label.x), plot.up(label.y) - (small ? 13 : 0)];
      const hidden = plot.chosen === null
        ? taken.some(other => Math.abs(other[0] - x) < 16 && Math.abs(other[1] - y) < 13)
        : !plot.chosen.has(label.slot);
      if (hidden) continue;
      taken.push([x, y]);
      writeOver(context, label.text, x, y, colour);
    }
  };
  connectPlot(plot, map, state, hover, () => []);
}

function drawAxes(plot, data, markers) {
  return (context, colour) => {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colour("--quiet");
    context.strokeStyle = colour("--line");
    const share = (marker, value) => (value - data.low[marker]) / (data.high[marker] - data.low[marker]);
    const [x, y] = markers;
    context.beginPath();
    context.moveTo(plot.across(0) - 4, plot.up(1) - 4);
    context.lineTo(plot.across(0) - 4, plot.up(0) + 4);
    context.lineTo(plot.across(1) + 4, plot.up(0) + 4);
    context.stroke();
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of ticksBetween(data.low[x], data.high[x])) {
      context.fillText(String(tick), plot.across(share(x, tick)), plot.up(0) + 7);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of ticksBetween(data.low[y], data.high[y])) {
      context.fillText(String(tick), plot.across(0) - 8, plot.up(share(y, tick)));
    }
    context.fillStyle = colour("--ink");
    context.font = "bold 12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText(shortened(data.markers[x], 40), (plot.across(0) + plot.across(1)) / 2, plot.height - 2);
    context.save();
    context.translate(12, (plot.up(0) + plot.up(1)) / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "middle";
    context.fillText(shortened(data.markers[y], 40), 0, 0);
    context.restore();
  };
}

function makeScatter(state, hover) {
  const { cells, colours, markers, low, high, first } = state.data;
  const plot = new PointPlot(document.getElementById("scatter-plot"), colours);
  plot.margin = { left: 54, right: 12, top: 12, bottom: 46 };
  const chosen = [...first];
  const shares = marker => Float32Array.from(
    cells.values.subarray(marker * cells.count, (marker + 1) * cells.count), byte => byte / 255);
  function useMarkers() {
    [plot.x, plot.y] = chosen.map(shares);
    plot.decorate = drawAxes(plot, state.data, chosen);
    plot.draw();
  }
  ["scatter-x", "scatter-y"].forEach((name, axis) => {
    const box = document.getElementById(name);
    markers.forEach((marker, index) => box.add(new Option(marker, String(index))));
    box.value = String(chosen[axis]);
    box.addEventListener("change", () => {
      chosen[axis] = Number(box.value);
      useMarkers();
    });
  });
  const valueOf = (marker, cell) => low[marker] + (cells.values[marker * cells.count + cell] / 255) * (high[marker] - low[marker]);
  plot.slots = slotsAt(cells, state.cut);
  useMarkers();
  connectPlot(plot, cells, state, hover, cell =>
    Array.from(new Set(chosen), marker => markers[marker] + " " + valueOf(marker, cell).toFixed(1)));
}

// The slider of cuts, and a table of the clusters of the cut.
function makeCuts(state) {
  const { cuts, colours, cells } = state.data;
  const slider = document.getElementById("cut");
  const name = document.getElementById("cut-name");
  const back = document.getElementById("cut-back");
  const body = document.querySelector("#parts tbody");
  document.getElementById("cut-row").hidden = cuts.numbers.length < 2;
  slider.max = cuts.numbers.length - 1;
  slider.value = state.cut;
  slider.addEventListener("input", () => state.useCut(Number(slider.value)));
  back.addEventListener("click", () => state.useCut(cuts.main));
  let shown = null;
  let rows = [];

  function fill() {
    const slots = slotsAt(cells, state.cut);
    const counts = new Map();
    for (const slot of slots) counts.set(slot, (counts.get(slot) || 0) + 1);
    rows = cuts.slots[state.cut].map((slot, index) => {
      const cluster = index + 1;
      const row = document.createElement("tr");
      const [first, share, related] = [0, 1, 2].map(() => row.insertCell());
      const button = document.createElement("button");
      button.type = "button";
      button.className = "part";
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colours[slot];
      button.append(swatch, titleIn(state.data, state.cut, cluster));
      first.className = "name";
      related.className = "text";
      first.append(button);
      share.textContent = ((100 * (counts.get(slot) || 0)) / cells.count).toFixed(2) + " %";
      related.textContent = describeRelatives(state.data, state.cut, cluster);
      row.addEventListener("click", event =>
        state.choose([cluster], state.cut, event.ctrlKey || event.metaKey || event.shiftKey));
      return row;
    });
    body.replaceChildren(...rows);
    for (const head of document.querySelectorAll("#parts th")) head.removeAttribute("aria-sort");
    document.getElementById("parts").classList.toggle("same", state.isMain); // there is nothing to tell in its last column
  }

  function update() {
    if (shown !== state.cut) {
      shown = state.cut;
      fill();
    }
    const number = cuts.numbers[state.cut];
    slider.value = state.cut;
    slider.setAttribute("aria-valuetext", number + " clusters");
    name.textContent = number + (state.isMain ? ", as in this report" : "");
    back.hidden = state.isMain;
    const chosen = state.chosenIn(state.cut);
    rows.forEach((row, index) => {
      row.classList.toggle("chosen", chosen.has(index + 1));
      row.querySelector("button").setAttribute("aria-pressed", chosen.has(index + 1));
    });
  }
  state.listen(update);
  update();
}

function connectExplore(state, hover) {
  const section = document.getElementById("explore");
  section.hidden = false;
  document.getElementById("to-explore").hidden = false;
  if (state.data.map !== null) makeMap(state, hover);
  makeScatter(state, hover);
  makeCuts(state);
  if (location.hash === "#explore") section.scrollIntoView({ behavior: "instant" }); // it was hidden until now
}
