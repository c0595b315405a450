// What the reader has chosen: a cut of the merge tree, and clusters. Clusters are kept as their experts, the leaves of
// the tree, so that a choice has a meaning in every cut.

class State {
  constructor(data) {
    this.data = data;
    this.cut = data.cuts.main;
    this.experts = new Set();
    this.listeners = [];
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  tell() {
    for (const listener of this.listeners) listener(this);
  }

  get isMain() {
    return this.cut === this.data.cuts.main;
  }

  useCut(cut) {
    this.cut = cut;
    this.tell();
  }

  // Choose clusters of a cut, or add them to the choice. Choosing them again takes the choice back.
  choose(clusters, cut, add) {
    const members = this.data.cuts.members[cut];
    const experts = clusters.flatMap(cluster => members[cluster - 1]);
    const again = experts.every(expert => this.experts.has(expert));
    if (add) {
      for (const expert of experts) again ? this.experts.delete(expert) : this.experts.add(expert);
    } else {
      this.experts = new Set(again && this.experts.size === experts.length ? [] : experts);
    }
    this.tell();
  }

  clear() {
    this.experts = new Set();
    this.tell();
  }

  // The clusters of a cut with a chosen expert.
  chosenIn(cut) {
    const members = this.data.cuts.members[cut];
    const chosen = new Set();
    members.forEach((experts, index) => {
      if (experts.some(expert => this.experts.has(expert))) chosen.add(index + 1);
    });
    return chosen;
  }
}

// How a cluster of a cut is called: by its title in the report, elsewhere by its number in that cut.
function titleIn(data, cut, cluster) {
  return cut === data.cuts.main ? data.titles[cluster - 1] : String(cluster);
}

// The clusters of the report that a cluster of another cut consists of, or the one that it is a part of.
function relatives(data, cut, cluster) {
  const own = new Set(data.cuts.members[cut][cluster - 1]);
  const found = [];
  data.cuts.members[data.cuts.main].forEach((experts, index) => {
    if (experts.some(expert => own.has(expert))) found.push(index + 1);
  });
  return found;
}

function describeRelatives(data, cut, cluster) {
  if (cut === data.cuts.main) return "";
  const titles = relatives(data, cut, cluster).map(number => data.titles[number - 1]);
  const finer = data.cuts.numbers[cut] > data.cuts.numbers[data.cuts.main];
  if (!finer) return titles.length > 1 ? titles.join(" + ") : "the same as " + titles[0];
  const whole = relatives(data, cut, cluster)[0];
  const same = data.cuts.members[data.cuts.main][whole - 1].length === data.cuts.members[cut][cluster - 1].length;
  return (same ? "the same as " : "part of ") + titles[0];
}
