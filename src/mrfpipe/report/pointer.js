// Pointer and keys: what they move, choose and draw.

function voxelUnder(cell, event) {
  const box = cell.canvas.getBoundingClientRect();
  const at = (position, extent, start, n) => start + Math.min(n - 1, Math.max(0, Math.floor(position / extent * n)));
  return { y: at(event.clientY - box.top, box.height, crop.y, crop.ny), x: at(event.clientX - box.left, box.width, crop.x, crop.nx) };
}

function listenCell(cell) {
  const { canvas } = cell;
  let dragged = null, grabbed = null;
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  canvas.addEventListener("pointerdown", event => {
    if (event.button === 2) {
      const [low, high] = cell.panel.windows[kindOf(viewOf(cell))];
      dragged = { x: event.clientX, y: event.clientY, level: (low + high) / 2, width: high - low };
    } else if (event.button === 0) {
      goTo(voxelUnder(cell, event));
      act();
      grabbed = state.mode === "ellipse" && state.corners.length ? { y: state.y, x: state.x } : null;
    }
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    state.pointed = cell.panel;
    if (!dragged) { goTo(voxelUnder(cell, event)); return; }
    const step = dragged.width / 250;
    setWindow(cell, dragged.level + (dragged.y - event.clientY) * step,
      Math.max(dragged.width / 100, dragged.width + (event.clientX - dragged.x) * step));
  });
  canvas.addEventListener("pointerup", () => {
    if (grabbed && (grabbed.y !== state.y || grabbed.x !== state.x)) act(); // a drag ends where it lets go
    dragged = grabbed = null;
  });
  canvas.addEventListener("pointercancel", () => { dragged = grabbed = null; });
  canvas.addEventListener("dblclick", () => {
    if (state.mode === "polygon" && state.corners.length > 2) closePolygon();
    else if (state.mode === "voxel") showAlone(cell.panel);
  });
  canvas.addEventListener("wheel", event => {
    if (N_SLICES === 1 || event.ctrlKey) return;
    event.preventDefault();
    goTo({ slice: state.slice + Math.sign(event.deltaY) });
  }, { passive: false });
}

function listenKeys() {
  element("viewer").addEventListener("keydown", event => {
    if (event.target !== element("viewer") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: { x: state.x - step }, ArrowRight: { x: state.x + step }, ArrowUp: { y: state.y - step }, ArrowDown: { y: state.y + step },
      PageUp: { slice: state.slice - 1 }, PageDown: { slice: state.slice + 1 }, Home: { slice: 0 }, End: { slice: N_SLICES - 1 },
    };
    if (event.key in moves) goTo(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") act();
    else if (event.key === "Escape") { Object.assign(state, { corners: [], alone: null }); draw(); }
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", event => {
    const typing = event.target.matches("input:not([type=radio], [type=checkbox], [type=range]), textarea, select");
    if (event.key === "f" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) showAlone(state.alone ?? state.pointed ?? panels[0]);
  });
}

function goTo(place) {
  const clamp = (v, low, n) => Math.min(low + n - 1, Math.max(low, v));
  const { slice, y, x } = { ...state, ...place };
  const at = { slice: clamp(slice, 0, N_SLICES), y: clamp(y, crop.y, crop.ny), x: clamp(x, crop.x, crop.nx) };
  if (at.slice !== state.slice) state.corners = []; // a region lies in one slice
  Object.assign(state, at);
  draw();
}

// What a click, or Enter at the cross-hair, does.
function act() {
  const { slice, y, x, mode, corners } = state;
  if (mode === "voxel") state.chosen = { slice, y, x };
  else if (mode === "ellipse" && corners.length) addRegion([corners[0], { y, x }]);
  else if (corners.length > 2 && corners.at(-1).y === y && corners.at(-1).x === x) closePolygon();
  else if (!(corners.length && corners.at(-1).y === y && corners.at(-1).x === x)) corners.push({ y, x });
  draw();
}
