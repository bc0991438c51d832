// Agreement: how the result agrees with a reference.

async function buildAgreement() {
  element("agreement").hidden = !data.comparisons.length;
  if (!data.comparisons.length) return;
  const [first, second] = data.names, cell = v => v === null ? "–" : Number.isInteger(v) ? String(v) : number(v);
  element("agreement-text").textContent = `${first} compared with the reference, ${second}: ${data.rule}. ` +
    `Scatter plots show the regression and the line of identity, Bland-Altman plots the bias and the 95 % limits of agreement. ` +
    `Each point is a ${data.comparisons[0].points === "voxel" ? "voxel" : "mean over a region in a slice"}. ` +
    "R² is the squared correlation of the two: the share of the variation of one that a straight line of the other explains, " +
    "1 if all points of the scatter plot lie on a line. It does not see a bias, which is a column of its own, and it is low where a map varies little.";
  const columns = Object.keys(data.comparisons[0].errors);
  element("agreement-table").tHead.rows[0].append(...["Map", ...columns].map(c => make("th", { scope: "col" }, c)));
  for (const packed of data.comparisons) {
    const [estimate, reference] = await Promise.all([unpack(packed.estimate, Float32Array), unpack(packed.reference, Float32Array)]);
    const unit = packed.unit ? ` (${packed.unit})` : "", plots = ["Scatter plot", "Bland-Altman plot"].map(kind => {
      const plot = make("canvas", { role: "img" });
      plot.setAttribute("aria-label", `${kind} of ${packed.name}`);
      return plot;
    });
    const row = make("tr", {}, make("th", { scope: "row" }, packed.name + unit), ...columns.map(c => make("td", {}, cell(packed.errors[c]))));
    row.dataset.name = packed.name;
    element("agreement-table").tBodies[0].append(row);
    const shown = estimate.length < packed.n ? `, ${estimate.length} of ${packed.n} ${packed.points}s` : `, ${packed.n} ${packed.points}${packed.n === 1 ? "" : "s"}`;
    element("agreement-plots").append(make("figure", {}, make("figcaption", {}, make("b", {}, packed.name + unit + shown)), make("div", {}, ...plots)));
    comparisons.push({ ...packed, estimate, reference, plots });
  }
}

function plotAgreement({ estimate, reference, lines, plots }) {
  const [first, second] = NAMES, all = [...estimate, ...reference];
  if (!all.length) return;
  const both = spread(all, 0.002), difference = estimate.map((v, i) => v - reference[i]), middle = estimate.map((v, i) => (v + reference[i]) / 2);
  plotPoints(plots[0], reference, estimate, both, both, second, first,
    [[1, 0, "soft"], ...(lines.slope === null ? [] : [[lines.slope, lines.intercept, "fitted"]])]);
  const ends = [lines.lower, lines.bias, lines.upper].filter(v => v !== null), [low, high] = spread([...difference], 0.002);
  plotPoints(plots[1], middle, difference, spread([...middle], 0.002), spread([low, high, ...ends], 0), "mean of the two", "difference",
    [[0, 0, "soft"], ...ends.map(v => [0, v, "fitted"])]);
}
