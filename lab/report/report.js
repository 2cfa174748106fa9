"use strict";
const tables = [...document.querySelectorAll("details.data")];
const button = document.getElementById("open");
button.hidden = false;
button.addEventListener("click", () => {
  const open = tables.some((table) => !table.open);
  tables.forEach((table) => { table.open = open; });
  button.textContent = open ? "Close all tables" : "Open all tables";
});
