// The scatter: a sample of all cells by two markers of free choice.

function shortened(name, longest) {
  return name.length <= longest ? name : name.slice(0, longest - 1) + "\u2026";
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
