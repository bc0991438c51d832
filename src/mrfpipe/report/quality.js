// Quality: warnings, numbers with their meaning, how the result was made.

function buildQuality() {
  const voxels = inside.reduce((sum, m) => sum + m, 0);
  element("summary").textContent = `${voxels.toLocaleString("en")} voxels in ${N_SLICES} slice${N_SLICES > 1 ? "s" : ""} of ${N_X} × ${N_Y}`;
  element("precision").textContent = "Rounding of the values on this page: at most " +
    panels.filter(p => !p.image.bits.length).map(p => `${p.image.name} ${p.image.precision.toPrecision(1)} ${p.image.unit}`.trim()).join(", ");
  for (const text of data.warnings) element("warnings").append(make("li", {}, text));
  if (data.coils) {
    element("coils").hidden = false;
    element("coils").append(make("img", { src: data.coils, alt: "Coil sensitivity maps" }));
  }
  for (const [what, value] of data.account) element("account").append(make("dt", {}, what), make("dd", {}, value));
  for (const [name, value, meaning] of data.findings)
    element("findings").tBodies[0].append(make("tr", {}, make("th", { scope: "row" }, name), ...[value, meaning].map(words => make("td", {}, words))));
  element("methods-text").textContent = data.methods;
  element("copy-methods").addEventListener("click", event => copyText(data.methods, event.target));
  element("quality-names").textContent = `: ${panels.filter(p => p.image.quality).map(p => p.image.name).join(", ")}`;
}
