"use strict";
// Adds comfort: what it does can be done without it, by links and checkboxes.

(() => {
  const status = document.querySelector("[data-copy-status]");

  const copy = async (link) => {
    const answer = await fetch(link.href, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.statusText);
    await navigator.clipboard.writeText(await answer.text());
    const label = link.textContent;
    link.textContent = status.textContent = link.dataset.copied;
    setTimeout(() => { link.textContent = label; status.textContent = ""; }, 2000);
  };

  // On a plain http page there is no clipboard: the link opens the text instead, as it does where copying is refused.
  if (navigator.clipboard) {
    for (const link of document.querySelectorAll("a[data-copied]")) {
      link.addEventListener("click", (click) => {
        if (click.ctrlKey || click.metaKey || click.shiftKey) return;
        click.preventDefault();
        copy(link).catch(() => location.assign(link.href));
      });
    }
  }

  const form = document.querySelector("form[data-select-all]");
  const boxes = form ? [...form.querySelectorAll("input[name=issue]")] : [];
  if (boxes.length) {
    const all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", form.dataset.selectAll);
    const update = () => {
      const chosen = boxes.filter((box) => box.checked).length;
      all.checked = chosen === boxes.length;
      all.indeterminate = chosen > 0 && !all.checked;
      for (const button of form.querySelectorAll("button")) button.disabled = chosen === 0;
      for (const box of boxes) box.closest("tr").classList.toggle("selected", box.checked);
    };
    all.addEventListener("change", () => {
      for (const box of boxes) box.checked = all.checked;
      update();
    });
    form.addEventListener("change", update);
    form.querySelector("thead th").append(all);
    update();
  }
})();
