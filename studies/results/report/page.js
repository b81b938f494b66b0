"use strict";
// Tables sort by the buttons in their heads: numbers as numbers, texts as texts, empty cells last either way.
(() => {
  const announce = document.getElementById("announce");

  const compare = (one, two, number) => number ? Number(one) - Number(two) : one.localeCompare(two, "en", {numeric: true});

  function sort(table, head, index) {
    const number = head.classList.contains("number");
    // numbers start with the greatest, texts with the first letter
    const first = number ? "descending" : "ascending";
    const other = number ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row, place) => ({row, place, key: row.cells[index].dataset.sort}));
    rows.sort((a, b) => {
      if ((a.key === "") !== (b.key === "")) return a.key === "" ? 1 : -1;
      return sign * compare(a.key, b.key, number) || a.place - b.place;
    });
    body.append(...rows.map((entry) => entry.row));
    for (const each of head.parentElement.cells) each.setAttribute("aria-sort", each === head ? order : "none");
    announce.textContent = `Sorted by ${head.textContent.trim()}, ${order}`;
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((head, index) => {
      head.querySelector("button").addEventListener("click", () => sort(table, head, index));
    });
  }
})();
