"use strict";
{
  // Without this script every value can be selected by a click on it.
  const said = document.getElementById("said");
  let last;
  const copied = (button, name) => {
    if (last) last.firstChild.data = "Copy";
    last = button;
    button.firstChild.data = "Copied";
    said.textContent = "Copied: " + name;
  };
  for (const code of document.querySelectorAll(".copy code")) {
    const name = code.closest(".copy").firstElementChild.textContent;
    const button = document.createElement("button");
    const hidden = document.createElement("span");
    hidden.className = "hidden";
    hidden.textContent = " " + name;
    button.type = "button";
    button.append("Copy", hidden);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        copied(button, name);
      } catch {
        getSelection().selectAllChildren(code);
        said.textContent = "Selected: " + name + ". Press Ctrl+C to copy.";
      }
    });
    (code.closest("pre") || code).after(button);
  }
}
