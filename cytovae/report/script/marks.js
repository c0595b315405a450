// Clusters in tables: every element with data-clusters="3 7" belongs to these clusters of the report. It can be
// clicked, and is highlighted while one of them is chosen.

function clustersOf(mark) {
  return mark.dataset.clusters.split(" ").map(Number);
}

function connectMarks(state, hover) {
  const data = state.data;
  const marks = Array.from(document.querySelectorAll("[data-clusters]"));
  const buttons = marks.filter(mark => mark.classList.contains("of"));
  for (const button of buttons) {
    button.tabIndex = 0;
    button.setAttribute("role", "button");
  }

  function choose(mark, event) {
    state.choose(clustersOf(mark), data.cuts.main, event.ctrlKey || event.metaKey || event.shiftKey);
  }

  document.addEventListener("click", event => {
    const mark = event.target.closest("[data-clusters]");
    if (mark === null || event.target.closest("a, summary") || String(window.getSelection()) !== "") return;
    choose(mark, event);
  });
  document.addEventListener("keydown", event => {
    const onButton = event.target.closest(".of[data-clusters]");
    if (onButton !== null && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      choose(onButton, event);
    } else if (event.key === "Escape" && state.experts.size > 0) {
      state.clear();
    }
  });
  document.addEventListener("mouseover", event => {
    const mark = event.target.closest("[data-clusters]");
    if (mark !== null && mark.tagName !== "TR") hover.show(event, describeClusters(data, clustersOf(mark)));
    else if (!event.target.closest(".plot, .picture")) hover.hide();
  });

  state.listen(() => {
    const chosen = state.chosenIn(data.cuts.main);
    for (const mark of marks) mark.classList.toggle("chosen", clustersOf(mark).some(cluster => chosen.has(cluster)));
    for (const button of buttons) button.setAttribute("aria-pressed", button.classList.contains("chosen"));
  });
}

// The bar that names the chosen clusters, with a button that takes the choice back.
function connectChoiceBar(state) {
  const bar = document.getElementById("choice");
  const names = document.getElementById("choice-names");
  document.getElementById("choice-clear").addEventListener("click", () => state.clear());
  state.listen(() => {
    bar.hidden = state.experts.size === 0;
    const titles = Array.from(state.chosenIn(state.cut), cluster => titleIn(state.data, state.cut, cluster));
    const where = state.isMain ? "" : " of " + state.data.cuts.numbers[state.cut];
    const label = titles.length === 1 ? "Cluster " : "Clusters ";
    names.textContent = titles.length === 0 ? "" : label + titles.join(", ") + where;
  });
}
