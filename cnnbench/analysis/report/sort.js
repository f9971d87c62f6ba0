
"use strict";
// Headings of tables become buttons that sort their column: first upwards, then downwards.
const number = (text) => {
  const found = text.replaceAll(",", "").replaceAll("−", "-").match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return found ? Number(found[0]) : NaN;
};
const text = (row, column) => row.cells[column].textContent.trim();
const order = (rows, column) => {
  const numeric = rows.some((row) => /^[×+−-]?\s?[\d.]/.test(text(row, column)));
  const key = (row) => (numeric ? number(text(row, column)) : text(row, column));
  return (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (!numeric) return x.localeCompare(y, "en", { numeric: true });
    return isNaN(x) - isNaN(y) || x - y || 0;
  };
};
for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rows = [...table.tBodies[0].rows];
      const down = heading.ariaSort === "ascending";
      rows.sort(order(rows, heading.cellIndex));
      if (down) rows.reverse();
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      table.tBodies[0].append(...rows);
    });
  }
}
