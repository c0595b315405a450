// The search box: shows the markers whose name contains the typed text.

function connectSearch() {
  const box = document.getElementById("find");
  const shown = document.getElementById("shown");
  const cards = Array.from(document.querySelectorAll("[data-marker]"));
  function narrow() {
    const words = box.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    let count = 0;
    for (const card of cards) {
      const name = card.dataset.marker.toLowerCase();
      card.hidden = words.length > 0 && !words.some(word => name.includes(word));
      if (!card.hidden) count += 1;
    }
    shown.textContent = count + " of " + cards.length;
  }
  box.addEventListener("input", narrow);
  narrow();
}
