// A small label beside the mouse. Its lines are text and never become HTML.

class Hover {
  constructor() {
    this.box = document.createElement("div");
    this.box.className = "hover";
    this.box.hidden = true;
    document.body.append(this.box);
    window.addEventListener("scroll", () => this.hide(), { passive: true });
  }

  show(event, lines) {
    this.box.textContent = lines.filter(Boolean).join("\n");
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    const fits = event.clientX + width + 20 < window.innerWidth;
    const left = fits ? event.clientX + 14 : Math.max(4, event.clientX - width - 10);
    const top = Math.min(event.clientY + 14, window.innerHeight - height - 6);
    this.box.style.left = left + "px";
    this.box.style.top = top + "px";
  }

  hide() {
    this.box.hidden = true;
  }
}

function countText(count) {
  return count.toLocaleString("en-US");
}

// A cluster of the report in words: its title, and how many cells it has.
function describeCluster(data, cluster) {
  const share = ((100 * data.sizes[cluster - 1]) / data.total).toFixed(2);
  return ["cluster " + data.titles[cluster - 1], countText(data.sizes[cluster - 1]) + " cells (" + share + " %)"];
}

// Several clusters, such as those of a named population.
function describeClusters(data, clusters) {
  if (clusters.length === 1) return describeCluster(data, clusters[0]);
  const size = clusters.reduce((sum, cluster) => sum + data.sizes[cluster - 1], 0);
  return ["clusters " + clusters.join(", "), countText(size) + " cells (" + ((100 * size) / data.total).toFixed(2) + " %)"];
}
