(() => {
  const body = document.querySelector(".list tbody"), form = document.querySelector(".controls");
  if (!body) return;
  const field = id => document.getElementById(id), day = 864e5, today = Math.floor(Date.now() / day);
  const rows = [...body.rows].map((row, rank) => ({ row, rank, data: row.dataset, words: row.textContent.toLowerCase() }));
  const since = iso => today - Date.parse(iso) / day;
  for (const { row, data } of rows) {
    const age = row.querySelector(".age"), late = row.querySelector(".late");
    if (age) { const n = since(data.dt); age.textContent = n < 1 ? "today" : n === 1 ? "1 day ago" : `${n.toLocaleString("en")} days ago`; }
    if (late) { const is = since(data.due) > 0; row.classList.toggle("stale", is); late.hidden = !is; }
  }
  const falling = { effect: Number, progress: Number, dt: Date.parse };
  const compare = (key, a, b) => {
    if (key === "rank") return a.rank - b.rank;
    const x = a.data[key], y = b.data[key];
    if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1) || a.rank - b.rank;
    return (key in falling ? falling[key](y) - falling[key](x) : x.localeCompare(y)) || a.rank - b.rank;
  };
  const show = () => {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const owner = field("owner").value, outcome = field("outcome").value;
    let count = 0;
    for (const { row, data, words: text } of rows) {
      const fits = words.every(word => text.includes(word)) && (!owner || data.owner === owner) && (!outcome || data.outcome === outcome);
      row.hidden = !fits;
      count += fits;
    }
    field("shown").textContent = count === rows.length ? `${count} shown` : `${count} of ${rows.length} shown`;
  };
  const sort = () => body.append(...rows.sort((a, b) => compare(field("sort").value, a, b)).map(({ row }) => row));
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", event => { if (event.target.id === "sort") sort(); show(); });
  form.hidden = false;
  if (field("sort").value !== "rank") sort();
  show();
})();
