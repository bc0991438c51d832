// The overview of a cohort: its tables are sorted by their headings, and copied as one.

const data = JSON.parse(document.getElementById("data").textContent);

function sortBy(heading) {
  const down = heading.getAttribute("aria-sort") === "ascending", body = heading.closest("table").tBodies[0];
  for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const order = new Intl.Collator("en", { numeric: true }), value = row => row.cells[heading.cellIndex].dataset.value;
  const compare = (a, b) => heading.cellIndex ? a - b : order.compare(a, b); // all but names are numbers
  const rows = [...body.rows].sort((r, s) => {
    const [a, b] = [value(r), value(s)];
    if (!a || !b) return !a - !b; // what is not defined comes last, either way
    return down ? compare(b, a) : compare(a, b);
  });
  body.append(...rows);
}

async function copyTable() {
  try {
    await navigator.clipboard.writeText(data.table);
  } catch { // a browser may refuse a page from disk; the older way asks nobody
    const area = document.createElement("textarea");
    area.value = data.table;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  document.getElementById("status").textContent = "Copied.";
}

for (const heading of document.querySelectorAll("thead th")) heading.querySelector("button").addEventListener("click", () => sortBy(heading));
document.getElementById("copy").addEventListener("click", copyTable);
document.documentElement.dataset.ready = "yes";
