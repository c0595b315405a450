// The section Explore, which is hidden without a script.

function connectExplore(state, hover) {
  const section = document.getElementById("explore");
  section.hidden = false;
  document.getElementById("to-explore").hidden = false;
  if (state.data.map !== null) makeMap(state, hover);
  makeScatter(state, hover);
  makeCuts(state);
  if (location.hash === "#explore") section.scrollIntoView({ behavior: "instant" }); // it was hidden until now
}
