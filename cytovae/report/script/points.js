// Cells as points on a canvas. Places are shares of the plot's width and height, from the bottom left.

class PointPlot {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours;
    this.margin = { left: 8, right: 8, top: 8, bottom: 8 };
    this.x = this.y = this.slots = null;
    this.chosen = null; // a set of slots, or null if every cluster is shown
    this.decorate = () => {};
    new ResizeObserver(() => this.draw()).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // The middle of a place on the canvas, in CSS pixels.
  across(share) {
    return this.margin.left + share * (this.width - this.margin.left - this.margin.right);
  }

  up(share) {
    return this.height - this.margin.bottom - share * (this.height - this.margin.top - this.margin.bottom);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.x === null || width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this, { width, height });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    const size = Math.min(3.4, Math.max(1.5, (width / Math.sqrt(this.x.length)) * 0.7));
    const paint = (radius, choose) => {
      for (let i = 0; i < this.x.length; i += 1) {
        const fill = choose(this.slots[i]);
        if (fill === null) continue;
        context.fillStyle = fill;
        context.fillRect(this.across(this.x[i]) - radius, this.up(this.y[i]) - radius, 2 * radius, 2 * radius);
      }
    };
    if (this.chosen === null) {
      paint(size / 2, slot => this.colours[slot]);
    } else {
      const faded = colour("--faded");
      const ink = colour("--ink");
      paint(size / 2, slot => (this.chosen.has(slot) ? null : faded));
      paint(size / 2 + 1.1, slot => (this.chosen.has(slot) ? ink : null));
      paint(size / 2 + 0.2, slot => (this.chosen.has(slot) ? this.colours[slot] : null));
    }
    this.decorate(context, colour);
  }

  // The cell nearest to the mouse, at most eight pixels away; null without one.
  nearest(event) {
    if (this.x === null) return null;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    let least = 64;
    for (let i = 0; i < this.x.length; i += 1) {
      const across = this.across(this.x[i]) - x;
      const up = this.up(this.y[i]) - y;
      let distance = across * across + up * up;
      if (this.chosen !== null && !this.chosen.has(this.slots[i])) distance = distance * 2 + 4; // behind the chosen
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }
}

// Text that is readable on points.
function writeOver(context, text, x, y, colour) {
  context.font = "bold 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 3.5;
  context.lineJoin = "round";
  context.strokeStyle = colour("--paper");
  context.strokeText(text, x, y);
  context.fillStyle = colour("--ink");
  context.fillText(text, x, y);
}

// Round numbers between two others, for an axis.
function ticksBetween(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(times => times * power).find(each => each >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) ticks.push(Number((i * step).toPrecision(6)));
  return ticks;
}
