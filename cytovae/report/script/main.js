// Brings the page to life. Without this script, it shows its pictures and tables as they are.

connectSearch();
const state = new State(readData());
const hover = new Hover();
for (const table of document.querySelectorAll("table")) makeSortable(table);
connectMarks(state, hover);
connectChoiceBar(state);
connectRows(state, hover);
connectExplore(state, hover);
document.documentElement.classList.add("interactive");
document.documentElement.dataset.ready = Math.round(performance.now()); // ms since the page was opened
