// Rating: what a reader thinks of the result, saved as a file and read back. The page itself keeps nothing.

const RATING_FORMAT = { format: "mrfpipe-rating", version: 1 };
const verdicts = () => [...document.querySelectorAll("input[name=rating]")];

function buildRating() {
  element("rating").hidden = !data.id;
  for (const input of verdicts()) input.addEventListener("change", () => noteRating("Not saved yet."));
  for (const id of ["comment", "rater"]) element(id).addEventListener("input", () => noteRating("Not saved yet."));
  element("save-rating").addEventListener("click", saveRating);
  element("open-rating").addEventListener("change", openRating);
}

function noteRating(text) {
  const rated = verdicts().some(input => input.checked);
  element("save-rating").disabled = !rated;
  element("rating-status").textContent = rated ? text : "Not rated: choose one of the four.";
}

function saveRating() {
  const name = `${fileStem}.rating.json`;
  const rating = {
    ...RATING_FORMAT, result: data.title, result_id: data.id, rating: verdicts().find(input => input.checked).value,
    comment: element("comment").value.trim(), rater: element("rater").value.trim(), date: new Date().toISOString(),
  };
  download(name, JSON.stringify(rating, null, 2) + "\n");
  noteRating(`Saved ${name}.`);
}

async function openRating(event) {
  const [file] = event.target.files;
  try {
    const rating = ratingIn(await file.text());
    for (const input of verdicts()) input.checked = input.value === rating.rating;
    for (const id of ["comment", "rater"]) element(id).value = rating[id];
    noteRating(`Opened ${file.name} of ${rating.date.slice(0, 10)}.`);
  } catch (error) {
    element("rating-status").textContent = `${file.name} cannot be opened: ${error.message}.`;
  }
  event.target.value = "";
}

function ratingIn(text) {
  let rating;
  try {
    rating = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON");
  }
  if (rating?.format !== RATING_FORMAT.format || rating.version !== RATING_FORMAT.version) throw new Error("it is not a rating that this version reads");
  if (!["result", "result_id", "rating", "comment", "rater", "date"].every(key => typeof rating[key] === "string")
    || !verdicts().some(input => input.value === rating.rating)) throw new Error("it is damaged");
  if (rating.result_id !== data.id)
    throw new Error(rating.result === data.title ? `it rates ${rating.result} as it was before it was made again` : `it rates another result, ${rating.result}`);
  return rating;
}

buildRating(); // at once: it does not need the maps
