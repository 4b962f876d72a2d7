"use strict";
// Shows what the program sends four times a second, and sends it what the visitor does. Text goes into the page as text, never as markup.

const SIDES = ["ours", "theirs"];
const TITLES = ["cache_sync", "Redis"];
const SECONDS = 120;
const byId = (id) => document.getElementById(id);

// ---- numbers as people read them

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

const count = (number) => (number >= 100 ? whole.format(number) : short.format(number));
const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(share > 0 && share < 0.001 ? 3 : 1)} %`);

function time(micros) {
  if (micros === null) return "–";
  if (micros < 1) return `${short.format(micros * 1000)} ns`;
  if (micros < 1000) return `${short.format(micros)} µs`;
  return micros < 1e6 ? `${short.format(micros / 1000)} ms` : `${short.format(micros / 1e6)} s`;
}

const millis = (ms) => time(ms === null ? null : ms * 1000);

function clock(seconds) {
  const full = Math.floor(seconds);
  return `${Math.floor(full / 60)}:${String(full % 60).padStart(2, "0")}`;
}

// ---- building blocks

function make(tag, attributes, ...children) {
  const svg = ["svg", "line", "path", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Sets a text only where it differs, so that nobody who reads or selects it is disturbed. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const keyed = (side, ...children) => make("span", { class: SIDES[side] }, make("span", { class: "key" }), ...children);

// ---- what is compared now

const bound = (state) => `${state.bound_ms / 1000} s`;

const MEASURES = [
  ["Stale reads since the start", () => "older than what had been committed before they began; fewer is better",
    (side) => [count(side.since.stale), `${percent(share(side.since.stale, side.since.compared))} of ${count(side.since.compared)} that were compared`]],
  ["Older than the bound", (state) => `by more than the ${bound(state)} that cache_sync promises; must be 0 there`,
    (side) => [count(side.since.beyond), side.since.oldest_ms > 0 ? `the oldest by ${millis(side.since.oldest_ms)}` : "none was old"]],
  ["Statements at Postgres, a second", () => "all of a side’s nodes together; fewer is better",
    (side) => [count(side.now.statements), `${count(side.since.statements)} for ${count(side.since.reads)} reads so far`]],
  ["Postgres is busy", () => "while nothing is broken: with loads for a read, whether or not it needs one, and with a write, its waits for rows included; shorter is better. Redis’s writes pay for cache_sync’s triggers, too, for both share a table; the feed’s own call, which lasts, is left out",
    (side) => [`${time(side.since.busy_us_per_read)} a read`, `${time(side.since.busy_us_per_write)} a write`]],
  ["Hit rate", () => "reads that the cache answered; higher is better",
    (side) => [percent(side.now.hit_rate), `of ${count(side.now.reads)} reads a second`]],
  ["A read takes", () => "the median, and what the slowest 1 % take at least; shorter is better",
    (side) => [time(side.now.p50_us), `slowest 1 %: ${time(side.now.p99_us)}`]],
  ["From a commit until it is shown", () => "by plain SQL, which tells no cache; median of 10 s; shorter is better",
    (side) => [millis(side.now.delays.median_ms), `at worst ${millis(side.now.delays.worst_ms)}`]],
  ["Failed calls since the start", () => "a caller waits for 1 s at most; fewer is better",
    (side) => [count(side.since.failed), side.now.failed > 0 ? `now ${count(side.now.failed)} a second` : "none now"]],
];

const share = (part, all) => (all > 0 ? part / all : 0);

const measures = MEASURES.map(([title, hint, show]) => {
  const explained = make("small");
  const cells = SIDES.map(() => [document.createTextNode(""), make("small")]);
  const row = make("tr", {}, make("th", { scope: "row" }, title, explained), ...cells.map((cell) => make("td", {}, ...cell)));
  byId("now").tBodies[0].append(row);
  return (state, sides) => {
    set(explained, hint(state));
    sides.forEach((side, place) => show(side).forEach((text, part) => set(cells[place][part], text)));
  };
});

// ---- plots: the time runs from left to right, the newest is at the right edge

const WIDTH = 290, HEIGHT = 132, LEFT = 48, RIGHT = 6, TOP = 8, BOTTOM = 18;

const PLOTS = [
  ["Reads, a second", "The same is offered to both. A dip means that callers waited, or were told no.", (now) => now.reads, count],
  ["Statements at Postgres, a second", "Lower is better: it is what your database has to do.", (now) => now.statements, count],
  ["Hit rate, %", "Higher is better: reads that need no Postgres.", (now) => now.hit_rate === null ? null : now.hit_rate * 100, (value) => `${value.toFixed(0)} %`, { top: 100 }],
  ["Stale reads, a second", "Lower is better; 0 is perfect.", (now) => now.stale, count],
  ["Read time, median", "Lower is better; each line is a factor of 10.", (now) => now.p50_us, time, { log: true }],
  ["Read time, slowest 1 %", "Lower is better; each line is a factor of 10.", (now) => now.p99_us, time, { log: true }],
  ["From a commit until it is shown", "Lower is better; each line is a factor of 10. Of a commit by plain SQL.", (now) => now.delays.median_ms === null ? null : now.delays.median_ms * 1000, time, { log: true }],
  ["Writes that wait in the buffer", "cache_sync takes writes at once and sends them together; it should fall to about 0 again. Redis has none: its callers wait.", (now) => now.buffered, count],
];

let points = [];

const plots = PLOTS.map(([title, hint, value, shown, options = {}]) => {
  const values = SIDES.map(() => document.createTextNode(""));
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  byId("plots").append(make("figure", {}, make("figcaption", {}, make("b", {}, title), make("span", {}, hint)),
    make("div", { class: "values" }, ...values.map((text, side) => keyed(side, text))), svg));
  return (last, events) => {
    const told = last.ways.map((now) => (value(now) === null ? "–" : shown(value(now))));
    values.forEach((text, side) => set(text, told[side]));
    svg.setAttribute("aria-label", `${title}: cache_sync ${told[0]}, Redis ${told[1]}`);
    draw(svg, last.at, value, shown, options, events);
  };
});

function draw(svg, end, value, shown, options, events) {
  const seen = points.flatMap((point) => point.ways.map(value)).filter((number) => number !== null && (!options.log || number > 0));
  const scale = options.log ? logarithmic(seen) : linear(seen, options.top);
  const x = (at) => LEFT + (WIDTH - LEFT - RIGHT) * (1 - (end - at) / SECONDS);
  const y = (number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - scale.place(number));
  const parts = scale.ticks.flatMap((tick) => [
    make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
    make("text", { x: LEFT - 5, y: y(tick) + 3.5, "text-anchor": "end" }, shown(tick)),
  ]);
  for (const ago of [120, 60, 0]) {
    const anchor = ago === 0 ? "end" : ago === 120 ? "start" : "middle";
    parts.push(make("text", { x: x(end - ago), y: HEIGHT - 4, "text-anchor": anchor }, ago === 0 ? "now" : `${ago} s ago`));
  }
  for (const event of events.filter((event) => event.at > end - SECONDS)) {
    parts.push(make("line", { class: "event", x1: x(event.at), x2: x(event.at), y1: TOP - 2, y2: HEIGHT - BOTTOM }));
    parts.push(make("text", { x: x(event.at) + 2, y: TOP + (event.number % 2 === 0 ? 16 : 4) }, String(event.number)));
  }
  SIDES.forEach((side, place) => parts.push(make("path", { class: side, d: line(place, value, x, y, options, end) })));
  svg.replaceChildren(...parts);
}

function line(place, value, x, y, options, end) {
  let text = "", before = null;
  for (const point of points) {
    const number = value(point.ways[place]);
    if (number === null || point.at < end - SECONDS) {
      before = null;
      continue;
    }
    // A hole in the record is shown as one.
    text += before === null || point.at - before > 2 ? "M" : "L";
    text += `${x(point.at).toFixed(1)} ${y(options.log ? Math.max(number, 1e-9) : number).toFixed(1)}`;
    before = point.at;
  }
  return text;
}

function linear(seen, top) {
  const most = top ?? Math.max(...seen, 1);
  const power = 10 ** Math.floor(Math.log10(most));
  const end = top ?? [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most);
  return { ticks: [0, end / 2, end], place: (number) => Math.min(number / end, 1) };
}

function logarithmic(seen) {
  const least = Math.floor(Math.log10(Math.min(...seen, 1e9)));
  const most = Math.ceil(Math.log10(Math.max(...seen, 1e-9)));
  const [from, to] = least < most ? [least, most] : [0, 3];
  const step = Math.ceil((to - from) / 5);
  const ticks = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, place) => 10 ** (from + place * step));
  return { ticks, place: (number) => Math.min(Math.max((Math.log10(number) - from) / (to - from), 0), 1) };
}

// ---- what happened

const REPAIRS = {
  open: (_, event, at) => `not yet, for ${(at - event.at).toFixed(0)} s`,
  undisturbed: () => "not disturbed",
  repaired: (repair) => `served again after ${repair.seconds.toFixed(1)} s`,
  not_repaired: () => "not within 60 s",
  down_before: () => "did not keep the bound before",
};

const UNDER_WAY = "Under way. The next one can begin once both sides are repaired.";
const told = new Set();

function showTimeline(state) {
  const rows = [...state.events].reverse().map((event) => {
    const outcomes = event.repairs.map((repair) => REPAIRS[repair.state](repair, event, state.point.at));
    const done = event.repairs.every((repair) => repair.state !== "open");
    if (done && !told.has(event.number)) {
      told.add(event.number);
      set(byId("announcement"), `${event.what}: cache_sync ${outcomes[0]}, Redis ${outcomes[1]}`);
    }
    const what = event.trouble === null ? event.what : `${event.what}. It went wrong: ${event.trouble}`;
    const cells = [`${event.number} · ${clock(event.at)}`, what].map((text) => make("td", {}, text));
    const notes = event.repairs.map((repair) => (repair.state === "repaired" ? `${repair.after_cause.toFixed(1)} s after the cause was gone` : ""));
    const results = outcomes.map((text, side) => make("td", {}, make("b", {}, text), make("small", {}, notes[side])));
    return make("tr", { "data-done": done }, ...cells, ...results);
  });
  const text = rows.map((row) => row.textContent).join("\n");
  const body = byId("timeline").tBodies[0];
  if (rows.length > 0 && body.dataset.text !== text) {
    body.dataset.text = text;
    body.replaceChildren(...rows);
  }
  for (const button of byId("buttons").children) button.disabled = !state.calm;
  if (state.calm && byId("break-answer").textContent === UNDER_WAY) set(byId("break-answer"), "Repaired: see the time line.");
}

// ---- rows

let cells = null;

function layRows(state) {
  const header = ["Row", "Postgres", ...state.nodes.map((node) => node.name)];
  byId("rows").tHead.replaceChildren(make("tr", {}, ...header.map((text, column) => {
    if (column < 2) return make("th", { scope: "col" }, text);
    return make("th", { scope: "col" }, keyed(column < 4 ? 0 : 1, text));
  })));
  cells = state.shelf.map((_, place) => {
    // Where there is no room for a header each cell says itself whose it is.
    const columns = header.slice(1).map((name) => make("td", { "data-of": name }, document.createTextNode(""), make("small")));
    byId("rows").tBodies[0].append(make("tr", {}, make("td", { "data-of": "Row" }, place === 0 ? "–" : String(place)), ...columns));
    return columns;
  });
  byId("edit-row").replaceChildren(...state.shelf.slice(1).map((_, place) => make("option", { value: place + 1 }, String(place + 1))));
  byId("edit-node").replaceChildren(...state.nodes.map((node, place) => make("option", { value: place }, node.name)));
}

function showRows(state) {
  if (cells === null && state.shelf.length > 0) layRows(state);
  state.shelf.forEach((row, place) => {
    fill(cells[place][0], row.text, "", "");
    row.cells.forEach((cell, node) => {
      const kind = cell.text === null ? "" : cell.behind ? "behind" : cell.delay_ms === null ? "" : "fresh";
      fill(cells[place][node + 1], cell.text ?? "–", kind, note(cell, place));
    });
  });
}

function note(cell, place) {
  if (cell.text === null) return "does not serve now";
  if (cell.behind) return "older";
  if (cell.delay_ms === null) return "";
  // Of the visitor's own changes it is known only to a few milliseconds when they were committed.
  if (cell.delay_ms < 5 && place > 0) return "after less than 5 ms";
  return cell.delay_ms === 0 ? "at once" : `after ${millis(cell.delay_ms)}`;
}

function fill(cell, text, kind, small) {
  set(cell.firstChild, text);
  set(cell.lastChild, small);
  if (cell.className !== kind) cell.className = kind;
}

// ---- what the visitor does

const send = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the program does not answer");
  }
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}

/** Does something and says what came of it. */
async function attempt(place, doing, what) {
  const line = byId(place);
  line.className = "answer";
  set(line, doing);
  try {
    set(line, await what());
  } catch (error) {
    line.className = "answer bad";
    set(line, `Not done: ${error.message}`);
  }
}

byId("buttons").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  attempt("break-answer", "Asking …", async () => {
    await send(`/break/${button.dataset.action}`, {});
    return UNDER_WAY;
  });
});

byId("sql-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt("rows-answer", "Running …", async () => {
    const { rows } = JSON.parse(await send("/sql", { sql: byId("sql").value }));
    return `Postgres changed ${rows} ${rows === 1 ? "row" : "rows"}.`;
  });
});

byId("edit-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const node = byId("edit-node");
  attempt("rows-answer", "Writing …", async () => {
    const edit = { node: Number(node.value), row: Number(byId("edit-row").value), text: byId("edit-text").value };
    await send("/edit", edit);
    return `Written through ${node.selectedOptions[0].text}, and committed.`;
  });
});

for (const seconds of [0.5, 1, 2, 5, 10, 30, 60]) byId("ttl").append(make("option", { value: seconds * 1000 }, `${seconds} s`));
byId("ttl").addEventListener("change", () => attempt("break-answer", "Telling the nodes …", async () => {
  await send("/time-to-live", { ms: Number(byId("ttl").value) });
  return "Redis keeps rows that are loaded from now on for that long.";
}));

// ---- the calculator

const costs = byId("costs-form");
costs.addEventListener("submit", (event) => event.preventDefault());
costs.addEventListener("input", workOut);
// From then on the visitor decides.
costs.elements.hit.addEventListener("focus", () => { costs.dataset.own = "yes"; });

async function workOut() {
  if (!costs.checkValidity()) return;
  const line = byId("costs-answer");
  try {
    showCosts(JSON.parse(await ask(`/costs?${new URLSearchParams(new FormData(costs))}`)));
    line.className = "answer";
    set(line, "");
  } catch (error) {
    line.className = "answer bad";
    set(line, `Not worked out: ${error.message}`);
  }
}

function showCosts(found) {
  const parts = [
    ["", "Without a cache", found.without, "statements a second at Postgres"],
    ["ours", "With cache_sync", found.with, "statements a second at Postgres"],
    ["theirs", "With Redis, at its hit rate here", found.redis, "statements a second at Postgres"],
    ["ours", "cache_sync saves", found.saved, `statements a second: ${percent(found.saved_share)}`],
  ].filter((part) => part[2] !== null).map(([side, title, value, unit]) => costBox(side, title, count(value), unit));
  const busy = [found.without_processors, found.with_processors];
  if (busy[0] !== null) parts.push(costBox("ours", "Postgres is busy for", `${short.format(busy[1])} s`, `a second, without a cache for ${short.format(busy[0])} s`));
  const instead = found.read_without_us === null ? "" : `, in place of ${time(found.read_without_us)}`;
  if (found.read_with_us !== null) parts.push(costBox("ours", "A read takes", time(found.read_with_us), `on average${instead}`));
  byId("costs").replaceChildren(...parts);
}

const costBox = (side, title, value, unit) => make("div", { class: side }, make("dt", {}, title), make("dd", {}, value, make("small", {}, unit)));

function showMeasured({ measured, bench }) {
  if (measured.hit_rate === null) return;
  const batches = measured.batches_per_write === null ? "–" : short.format(measured.batches_per_write);
  const loads = measured.loads_per_miss === null ? "–" : short.format(measured.loads_per_miss);
  set(byId("costs-source"), `By what was measured in this run: ${loads} statements for each read that misses (loads are shared), ` +
    `${batches} for each write (writes go in batches, at most 200 a second from each process). Times are ${bench ? "those of the bench" : "of this run, on this busy machine"}. ` +
    "What a write costs without a cache is what Redis’s cost here, which pay for cache_sync’s triggers, too; the feed’s own call is left out of what cache_sync costs.");
  if (costs.dataset.own !== "yes") costs.elements.hit.value = (measured.hit_rate * 100).toFixed(1);
}

// ---- the state as it comes

let lastWorkedOut = 0;

function show(state) {
  const now = state.point;
  const sides = SIDES.map((_, place) => ({ now: now.ways[place], since: state.since_start[place] }));
  const down = state.nodes.filter((node) => !node.heard).length;
  const trouble = [state.postgres ? "" : "Postgres is away", down > 0 ? `${down} of ${state.nodes.length} nodes do not serve` : ""].filter(Boolean);
  set(byId("status"), trouble.length > 0 ? trouble.join(", ") : `Running for ${clock(now.at)}; all is well`);
  byId("status").className = trouble.length > 0 ? "bad" : "";
  const [ours, theirs] = sides.map(({ since, now }) => [count(1000 * share(since.stale, since.compared)), millis(now.delays.median_ms)]);
  set(byId("verdict"), `Of 1,000 reads of the 50 hottest rows so far, ${ours[0]} were stale with cache_sync and ${theirs[0]} with Redis. ` +
    `What plain SQL changes is shown by cache_sync after ${ours[1]}, by Redis after ${theirs[1]}.`);
  set(byId("work"), `Each side has two processes. Each process reads ${count(state.reads)} rows a second (some rows much more often than others) and changes ` +
    `${count(state.writes)}; pgbench changes ${count(state.pgbench)} more a second by plain SQL. Nobody tells the caches. ` +
    `The longer Redis keeps rows, the older is what it serves; the shorter, the more has Postgres to do.`);
  SIDES.forEach((_, side) => byId(`nodes-${side}`).replaceChildren(...state.nodes.slice(2 * side, 2 * side + 2).map((node, place) =>
    make("span", { class: node.heard ? "up" : "down" }, `node ${place + 1} ${node.heard ? "serves" : "does not serve"}`))));
  if (document.activeElement !== byId("ttl")) byId("ttl").value = state.time_to_live_ms;
  measures.forEach((update) => update(state, sides));
  plots.forEach((update) => update(now, state.events));
  showTimeline(state);
  showRows(state);
  showMeasured(state);
  if (Date.now() - lastWorkedOut > 2000) {
    lastWorkedOut = Date.now();
    workOut();
  }
}

function add(point) {
  points.push(point);
  points = points.filter((before) => before.at >= point.at - SECONDS && before.at <= point.at);
}

/** Follows for as long as the page is open. */
function follow() {
  const live = new EventSource("/live");
  // Also when it was away: the plots then have what was not seen here, or begin anew with another run of the program.
  live.onopen = async () => {
    try {
      points = JSON.parse(await ask("/points"));
    } catch (error) {
      isAway(`The plots begin anew: ${error.message}.`);
    }
  };
  live.onmessage = (event) => {
    const state = JSON.parse(event.data);
    add(state.point);
    show(state);
  };
  live.onerror = () => {
    isAway("The program does not answer. Has it ended?");
    // It tries again by itself, unless it was refused.
    if (live.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
}

function isAway(why) {
  set(byId("status"), why);
  byId("status").className = "bad";
}

follow();
