// Cuts of the merge tree: the slider, and a table that says how clusters of the report merge or split.

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
