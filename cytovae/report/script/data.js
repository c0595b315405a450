// The data of the page: the JSON block that cytovae/report/page_data.py writes, with its arrays unpacked.

function bytesOf(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

function wordsOf(text) {
  const bytes = bytesOf(text);
  const words = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < words.length; i += 1) words[i] = bytes[2 * i] | (bytes[2 * i + 1] << 8);
  return words;
}

// The slot of each cell in one cut. The block holds only the changes from each cut to the next finer one.
function slotsAt(cells, cut) {
  const slots = new Uint16Array(cells.count);
  let end = 0;
  for (let i = 0; i <= cut; i += 1) end += cells.changes[i];
  for (let i = 0; i < end; i += 1) slots[cells.changed[i]] = cells.slots[i];
  return slots;
}

// For each cut, the experts of each cluster.
function membersOf(cuts) {
  return cuts.numbers.map((number, cut) => {
    const members = Array.from({ length: number }, () => []);
    cuts.experts[cut].forEach((cluster, expert) => members[cluster - 1].push(expert));
    return members;
  });
}

function readData() {
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const cells of [data.cells, data.map]) {
    if (cells === null) continue;
    cells.changed = wordsOf(cells.changed);
    cells.slots = wordsOf(cells.slots);
  }
  data.cells.values = bytesOf(data.cells.values);
  if (data.map !== null) data.map.places = wordsOf(data.map.places);
  data.densities.heights = bytesOf(data.densities.heights);
  data.cuts.members = membersOf(data.cuts);
  data.total = data.sizes.reduce((sum, size) => sum + size, 0);
  return data;
}
