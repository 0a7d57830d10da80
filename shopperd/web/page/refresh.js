"use strict";
// Takes the page's newest content every few seconds. Without this the page is what it was when it was loaded.
(() => {
  const seconds = 10;
  const button = document.getElementById("pause");
  const note = document.getElementById("note");
  let paused = false;
  let failures = 0;
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
  });
  const busy = () => paused || document.hidden || document.querySelector("main").contains(document.activeElement);
  async function refresh() {
    if (busy()) return;
    try {
      const answer = await fetch("./", { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(seconds * 1000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (fresh === null) throw new Error("not the status page");
      if (!busy()) document.querySelector("main").replaceWith(document.adoptNode(fresh));
      if (failures > 0) note.textContent = "";
      failures = 0;
    } catch {
      failures += 1;
      if (failures === 1) note.textContent = "shopperd does not answer: what is shown is old.";
    }
  }
  setInterval(refresh, seconds * 1000);
})();
