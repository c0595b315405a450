// Tables that are sorted by a click on the head of a column: first one way, then the other, then as they came.

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

// The number that a cell begins with: "1,234", "+0.5", "−2", "12.3 %", "0.91 ⚠"; NaN for "–" and an empty cell.
function numberOf(cell) {
  const text = cell.textContent.trim().replace(/,(?=\d{3})/g, "").replace(/^\u2212/, "-");
  const found = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/i.exec(text);
  return found === null ? NaN : Number(found[0]);
}

function isMissing(cell) {
  return ["", "\u2013", "none"].includes(cell.textContent.trim());
}

function comparison(column, byText, sign) {
  return (one, other) => {
    const cells = [one.cells[column], other.cells[column]];
    const [first, second] = byText ? cells.map(isMissing) : cells.map(cell => Number.isNaN(numberOf(cell)));
    if (first || second) return first - second; // missing values stay below
    if (byText) return sign * collator.compare(cells[0].textContent.trim(), cells[1].textContent.trim());
    return sign * (numberOf(cells[0]) - numberOf(cells[1]));
  };
}

function sortRows(table, head, order) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  rows.forEach((row, index) => {
    row.dataset.place ??= index;
  });
  rows.sort((one, other) => one.dataset.place - other.dataset.place);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  if (order !== "none") {
    const byText = head.classList.contains("name");
    rows.sort(comparison(head.cellIndex, byText, order === "ascending" ? 1 : -1));
    head.setAttribute("aria-sort", order);
  }
  body.append(...rows);
}

function makeSortable(table) {
  if (table.tHead === null || table.tBodies.length !== 1) return;
  for (const head of table.tHead.rows[0].cells) {
    if (head.textContent.trim() === "") continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.title = "Sort by this column";
    if (head.querySelector("[data-clusters]") === null) {
      button.append(...head.childNodes);
    } else {
      button.setAttribute("aria-label", "Sort by this cluster"); // a click on its name chooses the cluster
    }
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("name") ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort");
      sortRows(table, head, now === null ? first : now === first ? second : "none");
    });
  }
}
