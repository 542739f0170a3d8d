// Sends chosen files to the server that the page came from, one request a scan. The server tells on the page how it went.
window.trame = window.trame || {};
window.trame.utils = window.trame.utils || {};
window.trame.utils.mrdeltanet = {
  async upload(role, event) {
    const body = new FormData();
    for (const file of event.target.files) body.append("file", file, file.name);
    event.target.value = "";
    try {
      await fetch(`upload/${role}`, { method: "POST", body });
    } catch {
      // The server ends a request that it refuses before all of it was sent, and has told why by then.
    }
  },
};
document.documentElement.lang = "en";

// The pictures take no keys (their sliders do), and say what they show.
new MutationObserver(() => {
  for (const area of document.querySelectorAll(".views .remote-controlled-area[tabindex='0']")) {
    const picture = area.querySelector("img"), label = area.parentElement.querySelector(".label");
    if (!picture || !label) continue;
    area.tabIndex = -1;
    picture.alt = label.textContent;
  }
}).observe(document.documentElement, { childList: true, subtree: true });

document.addEventListener("keydown", event => {
  if (event.key === "Escape") document.querySelector(".reader header button")?.click();
});
