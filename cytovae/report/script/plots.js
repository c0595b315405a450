// What the map and the scatter share: colours and highlight follow the state, clicks choose, names show on hover.

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
