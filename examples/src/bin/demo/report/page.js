"use strict";

// `show` draws a record, whenever it is called; where the record comes from is the last line's matter.
const COLORS = ["var(--first)", "var(--second)", "var(--third)"];
const SIZE = { width: 1060, height: 230, left: 52, right: 8, top: 22, bottom: 22 };
const ENDS = { kill: "restart", hang: "resume", slow: "normal" };
const WORDS = { kill: "killed", hang: "hung", slow: "slow", rush: "rush" };

const byId = (id) => document.getElementById(id);
const count = (n) => Math.round(n).toLocaleString("en");
const millis = (n) => (n ? (n < 100 ? n.toFixed(1) : count(n)) + " ms" : "-");
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function show(record) {
  const windows = deltas(record);
  const ids = record.endpoints.map((endpoint) => endpoint.id);
  story(record);
  tiles(record);

  const answered = ids.map((id, n) => ({
    name: id, color: COLORS[n % COLORS.length],
    values: windows.map((w) => Math.max(0, w.servers[n].calls - w.servers[n].errors) / w.seconds),
  }));
  chart(byId("throughput"), record, windows, { series: answered, kind: "area", unit: (v) => count(v) + "/s" });

  const line = (name, color, pick, dashed) => ({ name, color, dashed, values: windows.map(pick) });
  chart(byId("latency"), record, windows, {
    kind: "line", log: true, unit: millis,
    series: [
      line("gRPC p50", COLORS[0], (w) => w.grpc.p50_ms, true), line("gRPC p99", COLORS[0], (w) => w.grpc.p99_ms),
      line("HTTP p50", COLORS[1], (w) => w.http.p50_ms, true), line("HTTP p99", COLORS[1], (w) => w.http.p99_ms),
    ],
  });

  chart(byId("errors"), record, windows, {
    kind: "bar", unit: (v) => count(v), least: 4, height: 150,
    series: [
      line("retries", "var(--warn)", (w) => w.retried),
      line("failed calls", "var(--bad)", (w) => w.grpc.errors + w.http.errors),
    ],
  });
  tables(record);
}

// What each window added, from counts that go on over the whole run.
function deltas(record) {
  let before = null;
  return record.windows.map((window) => {
    const since = before ? before.at_s : 0;
    const old = before ? before.endpoints : [];
    const servers = window.endpoints.map((now) => {
      const then = old.find((other) => other.id === now.id) || { calls: 0, errors: 0 };
      return { calls: now.calls - then.calls, errors: now.errors - then.errors };
    });
    const retried = Math.max(0, window.retries - (before ? before.retries : 0));
    before = window;
    return { ...window, retried, from_s: since, seconds: Math.max(0.001, window.at_s - since), servers };
  });
}

function story(record) {
  const { run } = record;
  const short = run.ran_s < run.duration_s * 0.99 ? ` (stopped after ${run.ran_s.toFixed(1)} s)` : "";
  byId("story").textContent = `A gRPC client and an HTTP client called three servers for ${run.duration_s} s${short}, `
    + `${count(run.rps)} calls a second in all, while one was killed, one hung and one slowed. `
    + `Registry ${run.registry}, seed ${run.seed}.`;
}

function tiles(record) {
  const { grpc, http, limiter } = record;
  const errors = grpc.errors + http.errors;
  const all = [
    [count(grpc.calls + http.calls), "calls answered or failed", ""],
    [count(errors), "calls failed for their callers", errors ? "bad" : "good"],
    [count(record.retries), "attempts made again on another server", record.retries ? "warn" : ""],
    [millis(Math.max(grpc.p99_ms, http.p99_ms)), "99 % of the calls were faster", ""],
    [count(limiter.rejected), "calls refused by the limiter", ""],
  ];
  byId("tiles").innerHTML = all.map(([value, text, tone]) =>
    `<div class="tile"><b class="${tone}">${value}</b><span>${text}</span></div>`).join("");
}

function bands(record) {
  const faults = record.faults.filter((fault) => ENDS[fault.kind]).map((fault) => {
    const end = record.faults.find((o) => o.kind === ENDS[fault.kind] && o.endpoint === fault.endpoint);
    return { kind: fault.kind, label: `${fault.endpoint} ${WORDS[fault.kind]}`, from: fault.at_s, to: end ? end.at_s : record.run.ran_s };
  });
  const [from, to] = record.run.rush_s;
  if (record.run.ran_s > from) faults.push({ kind: "rush", label: "rush", from, to: Math.min(to, record.run.ran_s) });
  return faults;
}

function chart(place, record, windows, options) {
  const height = options.height || SIZE.height;
  const bottom = height - SIZE.bottom;
  const x = (s) => SIZE.left + (s / record.run.duration_s) * (SIZE.width - SIZE.left - SIZE.right);
  const { to, ticks } = scale(options, windows.length);
  const y = (value) => bottom - to(value) * (bottom - SIZE.top);
  const parts = [];

  for (const band of bands(record)) {
    const width = Math.max(1, x(band.to) - x(band.from));
    parts.push(`<rect class="band ${band.kind}" x="${x(band.from)}" y="${SIZE.top}" width="${width}" height="${bottom - SIZE.top}"/>`);
    for (const edge of [band.from, band.to]) {
      parts.push(`<line class="edge ${band.kind}" x1="${x(edge)}" x2="${x(edge)}" y1="${SIZE.top}" y2="${bottom}"/>`);
    }
    parts.push(`<text class="label ${band.kind}" x="${x(band.from) + 2}" y="${SIZE.top - 7}">${escape(band.label)}</text>`);
  }
  for (const tick of ticks) {
    parts.push(`<line class="grid" x1="${SIZE.left}" x2="${SIZE.width - SIZE.right}" y1="${y(tick)}" y2="${y(tick)}"/>`);
    parts.push(`<text x="${SIZE.left - 8}" y="${y(tick) + 4}" text-anchor="end">${options.log ? tick + " ms" : count(tick)}</text>`);
  }
  for (const tick of steps(record.run.duration_s, 10)) {
    parts.push(`<text x="${x(tick)}" y="${height - 6}" text-anchor="middle">${+tick.toFixed(2)} s</text>`);
  }
  parts.push(draw[options.kind](options.series, windows, x, y, bottom));
  parts.push(`<line class="cursor" y1="${SIZE.top}" y2="${bottom}"/>`);

  const legend = options.series.map((s) => {
    const fill = s.dashed ? `background:repeating-linear-gradient(90deg,${s.color} 0 4px,transparent 4px 6px)` : `background:${s.color}`;
    return `<span><i style="${fill}"></i>${escape(s.name)}</span>`;
  });
  place.innerHTML = `<svg viewBox="0 0 ${SIZE.width} ${height}" role="img">${parts.join("")}</svg>`
    + `<div class="legend">${legend.join("")}</div>`;
  follow(place.firstChild, record, windows, options, x);
}

const draw = {
  // Areas that stand on each other.
  area(series, windows, x, y) {
    const base = windows.map(() => 0);
    return series.map((one) => {
      const low = base.slice();
      one.values.forEach((value, n) => { base[n] += value; });
      const edge = (levels) => windows.map((w, n) => [[x(w.from_s), y(levels[n])], [x(w.at_s), y(levels[n])]]).flat();
      const points = [...edge(base), ...edge(low).reverse()];
      return `<polygon points="${points.map(at).join(" ")}" fill="${one.color}" fill-opacity=".75"/>`;
    }).join("");
  },
  line(series, windows, x, y) {
    return series.map((one) => {
      const points = windows.map((w, n) => [x((w.from_s + w.at_s) / 2), y(one.values[n])]).filter((_, n) => one.values[n] > 0);
      const dash = one.dashed ? ` stroke-dasharray="4 3" stroke-width="1.2"` : ` stroke-width="1.8"`;
      return `<polyline points="${points.map(at).join(" ")}" fill="none" stroke="${one.color}"${dash} stroke-linejoin="round"/>`;
    }).join("");
  },
  bar(series, windows, x, y, bottom) {
    return series.map((one) => windows.map((w, n) => {
      if (!one.values[n]) return "";
      const width = Math.max(2, x(w.at_s) - x(w.from_s) - 1);
      return `<rect x="${x(w.from_s)}" y="${y(one.values[n])}" width="${width}" height="${bottom - y(one.values[n])}" fill="${one.color}"/>`;
    }).join("")).join("");
  },
};

const at = (point) => point.map((v) => v.toFixed(1)).join(",");

// From a value to its height between 0 and 1, and the values that get a line.
function scale(options, length) {
  const stacked = options.kind === "area";
  let most = options.least || 1;
  for (let n = 0; n < length; n += 1) {
    const here = options.series.map((one) => one.values[n]);
    most = Math.max(most, stacked ? here.reduce((a, b) => a + b, 0) : Math.max(...here));
  }
  if (options.log) {
    const decades = Math.max(2, Math.ceil(Math.log10(most)));
    const ticks = Array.from({ length: decades + 1 }, (_, n) => 10 ** n);
    return { to: (v) => Math.log10(Math.max(1, v)) / decades, ticks };
  }
  const ticks = steps(most * 1.05, 5);
  return { to: (v) => v / (most * 1.05), ticks };
}

// Round numbers from 0 to `most`, about `wanted` of them.
function steps(most, wanted) {
  const raw = most / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, n) => n * step);
}

function follow(svg, record, windows, options, x) {
  const tip = byId("tip");
  const cursor = svg.querySelector(".cursor");
  svg.onmousemove = (event) => {
    const box = svg.getBoundingClientRect();
    const seen = ((event.clientX - box.left) / box.width) * SIZE.width;
    const n = windows.findIndex((w) => x(w.from_s) <= seen && seen < x(w.at_s));
    if (n < 0) return svg.onmouseleave();
    const middle = (x(windows[n].from_s) + x(windows[n].at_s)) / 2;
    cursor.setAttribute("x1", middle);
    cursor.setAttribute("x2", middle);
    cursor.style.visibility = "visible";
    const rows = options.series.map((one) => `<div>${escape(one.name)}: ${options.unit(one.values[n])}</div>`);
    tip.innerHTML = `<b>${windows[n].at_s.toFixed(1)} s</b>${rows.join("")}`;
    tip.style.display = "block";
    tip.style.left = Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8) + "px";
    return undefined;
  };
  svg.onmouseleave = () => {
    tip.style.display = "none";
    cursor.style.visibility = "hidden";
  };
}

function table(id, head, rows) {
  const cell = (tag, value, n) => `<${tag}${head[n][1] ? ` class="${head[n][1]}"` : ""}>${value}</${tag}>`;
  const titles = head.map(([title], n) => cell("th", title, n)).join("");
  byId(id).innerHTML = `<thead><tr>${titles}</tr></thead><tbody>` + rows.map(({ tone = "", cells }) =>
    `<tr class="${tone}">${cells.map((value, n) => cell("td", value, n)).join("")}</tr>`).join("") + "</tbody>";
}

function tables(record) {
  const number = (title) => [title, "number"];
  const failed = (n) => `<span class="${n ? "bad" : "good"}">${count(n)}</span>`;
  const client = (name, f) => ({
    cells: [name, count(f.calls), failed(f.errors), count(f.refused), f.calls_per_s.toFixed(1),
      millis(f.p50_ms), millis(f.p99_ms), millis(f.p999_ms)],
  });
  table("clients", [["client"], number("calls"), number("failed"), number("refused by the limiter"), number("calls/s"),
    number("p50"), number("p99"), number("p99.9")], [client("gRPC", record.grpc), client("HTTP", record.http)]);
  table("endpoints", [["endpoint"], ["last address"], ["server"], ["gRPC breaker"], ["HTTP breaker"], number("attempts"),
    number("failed"), number("left alone"), number("weight")], record.endpoints.map((e) => ({
    cells: [escape(e.id), escape(e.address || "not registered"), e.condition, e.grpc, e.http, count(e.calls), count(e.errors),
      e.ejections === 1 ? "once" : e.ejections ? `${e.ejections} times` : "never", e.weight],
  })));
  table("events", [number("at"), ["endpoint"], ["", "text"]], record.events.map((event) => ({
    tone: event.by === "seawall" ? "deed" : "done",
    cells: [`${event.at_s.toFixed(2)} s`, escape(event.endpoint || ""), escape(event.text)],
  })));
}

show(JSON.parse(byId("data").textContent));
