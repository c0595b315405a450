// Pictures whose rows are clusters: the heatmaps, and the distributions of each marker. The picture stays as it is; a
// drawing over it veils the rows that are not chosen.

function path(drawing, attributes) {
  const made = document.createElementNS(drawing.namespaceURI, "path");
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function box(left, right, top, bottom) {
  return `M${left} ${top}H${right}V${bottom}H${left}Z`;
}

class RowPicture {
  constructor(frame, rows, marker, state, hover) {
    Object.assign(this, { frame, rows, marker, state, data: state.data });
    [this.left, this.right, this.top, this.row] = rows.box;
    this.drawing = frame.querySelector("svg");
    frame.classList.add("rows");
    frame.addEventListener("click", event => {
      const row = this.rowAt(event);
      if (row !== null) {
        const add = event.ctrlKey || event.metaKey || event.shiftKey;
        state.choose(rows.clusters[row], this.data.cuts.main, add);
      }
    });
    frame.addEventListener("mousemove", event => {
      const row = this.rowAt(event);
      frame.classList.toggle("over", row !== null);
      if (row === null) hover.hide();
      else hover.show(event, this.describe(row, event));
    });
    frame.addEventListener("mouseleave", () => hover.hide());
  }

  // Where the mouse is, as shares of the picture.
  place(event) {
    const box = this.frame.querySelector("img").getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  rowAt(event) {
    const [x, y] = this.place(event);
    const row = Math.floor((y - this.top) / this.row);
    const beside = this.marker !== null && (x < this.left - 0.06 || x > this.right);
    return row < 0 || row >= this.rows.clusters.length || beside ? null : row;
  }

  describe(row, event) {
    const lines = describeClusters(this.data, this.rows.clusters[row]);
    const [x] = this.place(event);
    const column = Math.floor(((x - this.left) / (this.right - this.left)) * this.rows.columns.length);
    if (column >= 0 && column < this.rows.columns.length) {
      const median = this.rows.medians[row][column];
      lines.push(this.data.markers[this.rows.columns[column]] + ": " + (median === null ? "no cells" : "median " + median));
    }
    return lines;
  }

  update() {
    const chosen = this.state.chosenIn(this.data.cuts.main);
    this.drawing.replaceChildren();
    if (chosen.size === 0) return;
    const veil = [];
    const marks = [];
    const { length } = this.rows.clusters;
    const isChosen = row => this.rows.clusters[row].some(cluster => chosen.has(cluster));
    if (this.marker === null) {
      veil.push(box(0, 1, this.top - 0.003, this.top + length * this.row + 0.003));
    } else {
      const above = (this.data.densities.overlap - 0.9) * this.row;
      veil.push(box(this.left - 0.003, this.right + 0.01, this.top - above, this.top + length * this.row - 0.003));
    }
    for (let row = 0; row < length; row += 1) {
      const start = this.top + row * this.row;
      if (this.marker === null) {
        if (!isChosen(row)) continue;
        veil.push(box(0, 1, start, start + this.row)); // a hole
        marks.push(path(this.drawing, { class: "outline", d: box(0, 1, start, start + this.row) }));
      } else if (isChosen(row)) {
        marks.push(this.density(row));
      } else {
        veil.push(box(this.left - 0.06, this.left - 0.004, start + this.row / 2, start + 1.5 * this.row)); // its number
      }
    }
    this.drawing.append(path(this.drawing, { class: "veil", d: veil.join(""), "fill-rule": "evenodd" }), ...marks);
  }

  density(row) {
    const { bins, overlap, heights } = this.data.densities;
    const floor = this.top + (row + 1) * this.row;
    const first = (this.marker * this.data.titles.length + row) * bins;
    const step = (this.right - this.left) / bins;
    let line = `M${this.left + step / 2} ${floor}`;
    for (let bin = 0; bin < bins; bin += 1) {
      const y = floor - (heights[first + bin] / 255) * overlap * this.row;
      line += `L${(this.left + (bin + 0.5) * step).toFixed(5)} ${y.toFixed(5)}`;
    }
    line += `L${this.right - step / 2} ${floor}Z`;
    return path(this.drawing, { class: "density", d: line, fill: this.data.colours[row] });
  }
}

function connectRows(state, hover) {
  const pictures = [];
  for (const frame of document.querySelectorAll(".picture[data-picture]")) {
    const rows = state.data.rows[frame.dataset.picture];
    if (rows === undefined) continue;
    const marker = frame.dataset.index === undefined ? null : Number(frame.dataset.index);
    pictures.push(new RowPicture(frame, rows, marker, state, hover));
  }
  state.listen(() => {
    for (const picture of pictures) picture.update();
  });
}
