/** The element that a selector names. */
export function $(selector) {
  return document.querySelector(selector);
}

/** A new element with a text. Markup in the text is shown as text. */
export function element(name, className = "", text = "") {
  const created = document.createElement(name);
  created.className = className;
  created.textContent = text;
  return created;
}

/** A new button that does not submit a form. */
export function button(className, text, onClick) {
  const created = element("button", className, text);
  created.type = "button";
  created.addEventListener("click", onClick);
  return created;
}

/** A screen reader announces every assignment to a live region, so assign only changes. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
