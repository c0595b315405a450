// The map: landmarks at their UMAP coordinates, with the number of each cluster.

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
