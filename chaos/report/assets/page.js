// Makes the page of a run alive: plots, linked zoom, filters. What it needs stands in #data.
// Texts of a run reach the page only as text nodes, never as markup.
(function () {
  "use strict";
  const $ = (selector, root) => (root || document).querySelector(selector);
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const data = JSON.parse($("#data").textContent);
  const plots = data.plots;
  const root = document.documentElement;
  root.classList.remove("no-js");

  // ------------------------------------------------------------------ light and dark
  const modes = ["auto", "light", "dark"];
  const remembered = () => { try { return localStorage.getItem("chaos-theme"); } catch (e) { return null; } };
  const remember = (mode) => { try { localStorage.setItem("chaos-theme", mode); } catch (e) { /* a file */ } };
  let mode = modes.includes(remembered()) ? remembered() : "auto";
  const themeButton = $("#theme");
  function applyTheme() {
    if (mode === "auto") root.removeAttribute("data-theme"); else root.setAttribute("data-theme", mode);
    themeButton.textContent = "theme: " + mode;
  }
  themeButton.addEventListener("click", () => {
    mode = modes[(modes.indexOf(mode) + 1) % modes.length];
    remember(mode);
    applyTheme();
    drawAll();
  });
  applyTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const px = (name) => parseFloat(css(name)) || 0;

  // ------------------------------------------------------------------ one time axis for all
  const whole = [plots.from_s, plots.to_s];
  let span = whole.slice();
  const charts = [];
  const lanes = $("#lanes");
  const zoomed = $("#zoom");

  function setSpan(from, to) {
    const least = Math.max(plots.width_s * 4, (whole[1] - whole[0]) / 500);
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    span = [Math.max(whole[0], from), Math.min(whole[1], to)];
    charts.forEach((chart) => chart.u.setScale("x", { min: span[0], max: span[1] }));
    placeLanes();
    zoomed.hidden = span[0] <= whole[0] && span[1] >= whole[1];
  }
  zoomed.addEventListener("click", () => setSpan(whole[0], whole[1]));

  function seconds(value) {
    if (value === null || value === undefined) return "none";
    const size = Math.abs(value);
    if (size < 0.001) return (value * 1e6).toFixed(0) + " \u00b5s";
    if (size < 1) return (value * 1000).toFixed(size < 0.01 ? 1 : 0) + " ms";
    return value.toFixed(size < 10 ? 2 : 1) + " s";
  }
  const amount = (value) => value === null || value === undefined ? "none" : Math.round(value).toLocaleString("en") + "/s";
  const short = (v) => v >= 1e6 ? v / 1e6 + "M" : v >= 1e4 ? v / 1e3 + "k" : v.toLocaleString("en");
  const clock = (value) => (Math.round(value * 100) / 100).toLocaleString("en") + " s";

  // Where a span of time lies on a plot, in its pixels; nothing when it is out of sight.
  function reach(u, from, to) {
    const left = u.bbox.left - 4, right = u.bbox.left + u.bbox.width + 4;
    const a = Math.max(u.valToPos(from, "x", true), left), b = Math.min(u.valToPos(to, "x", true), right);
    return b > a ? [a, b] : null;
  }

  function inside(u, draw) {
    const ctx = u.ctx, box = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.left, box.top, box.width, box.height);
    ctx.clip();
    draw(ctx, box, devicePixelRatio || 1);
    ctx.restore();
  }

  function write(ctx, ratio, text, x, y, align) {
    ctx.font = 600 + " " + 11 * ratio + "px system-ui, sans-serif";
    ctx.textBaseline = "top";
    ctx.textAlign = align;
    ctx.lineJoin = "round";
    ctx.lineWidth = 3 * ratio;
    ctx.strokeStyle = css("--card");
    ctx.strokeText(text, x, y);
    ctx.fillStyle = css("--text");
    ctx.fillText(text, x, y);
  }

  // The same round times below plots and lanes.
  const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200];
  function times() {
    const most = Math.max(2, (lanes.clientWidth - px("--gutter")) / 64), wide = (span[1] - span[0]) / most;
    const step = STEPS.find((each) => each >= wide) || wide;
    const found = [];
    for (let n = Math.ceil(span[0] / step); n * step <= span[1]; n++) found.push(+(n * step).toFixed(3));
    return found;
  }

  // Faults are shaded between dashed lines, and named at the top of the first plot.
  function shade(u) {
    inside(u, (ctx, box, ratio) => {
      plots.faults.forEach(([from, to]) => {
        const found = reach(u, from, to);
        if (!found) return;
        const [a, b] = found;
        ctx.globalAlpha = 0.1;
        ctx.fillStyle = css("--band");
        ctx.fillRect(a, box.top, b - a, box.height);
        ctx.globalAlpha = 0.55;
        ctx.strokeStyle = css("--band");
        ctx.lineWidth = ratio;
        ctx.setLineDash([3 * ratio, 3 * ratio]);
        [a, b].forEach((x) => { ctx.beginPath(); ctx.moveTo(x, box.top); ctx.lineTo(x, box.top + box.height); ctx.stroke(); });
        ctx.setLineDash([]);
      });
    });
  }

  const NAMED = 3;
  function nameFaults(u) {
    inside(u, (ctx, box, ratio) => plots.faults.forEach(([from, to, name], place) => {
      const found = reach(u, from, to);
      if (!found || place >= NAMED) return;
      ctx.font = 600 + " " + 11 * ratio + "px system-ui, sans-serif";
      const room = box.left + box.width - Math.max(found[0], box.left) - 8 * ratio;
      let text = name;
      while (text.length > 4 && ctx.measureText(text).width > room) text = text.slice(0, -2).replace(/\W+$/, "") + "\u2026";
      write(ctx, ratio, text, Math.max(found[0], box.left) + 4 * ratio, box.top + (3 + 14 * place) * ratio, "left");
    }));
  }

  const line = (label, color, dash, width, value, more) => Object.assign({
    label, stroke: () => css(color), dash, width, value: (u, v) => u.cursor.idx === null || u.cursor.idx === undefined ? "" : value(v), points: { show: false }, spanGaps: false,
  }, more || {});

  const kinds = {
    throughput: {
      height: 250, named: true, range: () => [0, ceiling()],
      ticks: (u, values) => values.map(short),
      columns: () => [plots.due, plots.acknowledged, plots.delivered, plots.failed].concat(plots.aborted ? [plots.aborted] : []),
      series: [
        line("due", "--due", [2, 3], 1.5, amount),
        line("acknowledged", "--ack", [], 2, amount),
        line("delivered", "--dlv", [8, 4], 1.5, amount),
        line("failed", "--bad", [3, 2, 1, 2], 2, amount),
      ].concat(plots.aborted ? [line("aborted", "--due", [8, 3, 2, 3], 1.5, amount)] : []),
    },
    lag: {
      height: 150, named: false, range: (u, low, high) => [0, Math.max(high || 0, 1) * 1.12],
      ticks: (u, values) => values.map(short),
      columns: () => [plots.lag],
      series: [line("backlog", "--ack", [], 1.5, (value) => value === null ? "none" : value.toLocaleString("en"))],
    },
    latency: {
      height: 250, named: false, log: true,
      ticks: (u, values) => values.map((v) => v === null ? "" : v < 0.001 ? v * 1e6 + " \u00b5s" : v < 1 ? +(v * 1000).toPrecision(3) + " ms" : v + " s"),
      columns: () => [plots.sending.p50, plots.sending.p99, plots.sending.max, plots.delivery.p50, plots.delivery.p99, plots.delivery.max],
      series: [
        line("ack p50", "--ack", [], 1.5, seconds), line("ack p99", "--ack", [6, 3], 1.5, seconds), line("ack max", "--ack", [1, 3], 2, seconds),
        line("delivery p50", "--dlv", [], 1.5, seconds), line("delivery p99", "--dlv", [6, 3], 1.5, seconds), line("delivery max", "--dlv", [1, 3], 2, seconds),
      ],
    },
  };

  // What piled up in an outage comes back in a moment: that peak would press all else to the ground,
  // so it is cut off and told in words.
  const highest = (columns) => columns.flat().reduce((a, b) => Math.max(a, b), 1);
  function ceiling() {
    const top = highest(kinds.throughput.columns()), due = highest([plots.due]);
    return due > 1 && top > 3 * due ? 2.6 * due : 1.15 * top;
  }

  function tellPeaks(u) {
    const top = ceiling(), columns = kinds.throughput.columns(), ctx = u.ctx, ratio = devicePixelRatio || 1, box = u.bbox;
    const rows = Math.min(plots.faults.length, NAMED);
    ctx.save();
    ctx.font = 600 + " " + 11 * ratio + "px system-ui, sans-serif";
    let free = 0;
    for (let i = 0; i < plots.x.length; i++) {
      const value = Math.max(...columns.map((column) => column[i]));
      if (value <= top) continue;
      let last = i, best = value;
      while (last + 1 < plots.x.length && Math.max(...columns.map((column) => column[last + 1])) > top) {
        last += 1;
        best = Math.max(best, ...columns.map((column) => column[last]));
      }
      const x = u.valToPos(plots.x[last], "x", true) + 6 * ratio;
      i = last;
      if (x < Math.max(box.left, free) || x > box.left + box.width) continue;
      const text = "\u2191 peak " + amount(best), wide = ctx.measureText(text).width;
      const fits = x + wide < box.left + box.width;
      write(ctx, ratio, text, fits ? x : x - 16 * ratio, box.top + (5 + 14 * rows) * ratio, fits ? "left" : "right");
      free = x + wide + 8 * ratio;
    }
    ctx.restore();
  }

  function logRange(columns) {
    const known = columns.flat().filter((v) => v !== null && v > 0);
    if (!known.length) return [0.001, 1];
    const power = (v, way) => Math.pow(10, way(Math.log10(v)));
    const low = power(known.reduce((a, b) => Math.min(a, b)), Math.floor), high = power(known.reduce((a, b) => Math.max(a, b)), Math.ceil);
    return [low, Math.max(high, low * 10)];
  }

  function draw(place) {
    const kind = kinds[place.dataset.plot];
    const columns = kind.columns();
    const positive = kind.log ? columns.map((column) => column.map((v) => v === null || v > 0 ? v : null)) : columns;
    const logs = kind.log ? logRange(positive) : null;
    place.textContent = "";
    const axis = { stroke: () => css("--muted"), grid: { stroke: () => css("--plot-grid"), width: 1 }, ticks: { stroke: () => css("--plot-grid"), width: 1, size: 4 }, font: "11.5px system-ui, sans-serif" };
    const u = new uPlot({
      width: place.clientWidth, height: kind.height, padding: [8, px("--pad"), 0, 0],
      legend: { markers: { width: 3, fill: () => "none", dash: (u, i) => i && kind.series[i - 1].dash.length ? (kind.series[i - 1].dash[0] > 4 ? "dashed" : "dotted") : "solid" } },
      cursor: { sync: { key: "run" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: { x: { time: false, range: () => span }, y: kind.log ? { distr: 3, range: () => logs } : { range: kind.range } },
      axes: [
        Object.assign({}, axis, { splits: times, values: (u, values) => values.map((v) => v.toLocaleString("en") + " s"), size: 30 }),
        Object.assign({}, axis, { values: kind.ticks, size: px("--gutter") }),
      ],
      series: [{ label: "time", value: (u, v) => v === null ? "" : clock(v) }].concat(kind.series),
      hooks: {
        drawClear: [shade],
        draw: kind.named ? [nameFaults, tellPeaks] : [],
        setCursor: [(u) => moveCursor(u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null)],
        setSelect: [(u) => {
          if (u.select.width > 4) setSpan(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        }],
        ready: [(u) => u.over.addEventListener("dblclick", () => setSpan(whole[0], whole[1]))],
      },
    }, [plots.x].concat(positive), place);
    return { u, place };
  }

  function drawAll() {
    charts.splice(0).forEach((chart) => chart.u.destroy());
    all("[data-plot]").forEach((place) => charts.push(draw(place)));
    placeLanes();
  }

  // With the keyboard: arrows move the cursor, + and - zoom around it, Escape shows all.
  all("[data-plot]").forEach((place) => place.addEventListener("keydown", (event) => {
    const chart = charts.find((each) => each.place === place);
    const u = chart && chart.u;
    if (!u) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key] * (event.shiftKey ? 10 : 1);
    const at = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : (span[0] + span[1]) / 2;
    if (step) {
      const to = Math.min(span[1], Math.max(span[0], at + step * plots.width_s));
      u.setCursor({ left: u.valToPos(to, "x"), top: u.over.clientHeight / 2 });
    } else if (event.key === "+" || event.key === "-") {
      const half = (span[1] - span[0]) / (event.key === "+" ? 4 : 1);
      setSpan(at - half, at + half);
    } else if (event.key === "Escape") {
      setSpan(whole[0], whole[1]);
    } else {
      return;
    }
    event.preventDefault();
  }));

  // ------------------------------------------------------------------ lanes
  const cursor = document.createElement("div");
  cursor.className = "cursor";
  cursor.hidden = true;
  lanes.append(cursor);
  const share = (value) => (value - span[0]) / (span[1] - span[0]);
  const percent = (value) => (100 * value).toFixed(3) + "%";

  function moveCursor(time) {
    cursor.hidden = time === null;
    if (time === null) return;
    const room = lanes.clientWidth - px("--gutter") - px("--pad");
    cursor.style.left = px("--gutter") + share(time) * room + "px";
  }

  function placeLanes() {
    all("[data-a]", lanes).forEach((each) => {
      // A bar that reaches beyond the sight is cut, so that its label stays within it.
      const a = Math.min(Math.max(share(+each.dataset.a), 0), 1), b = Math.min(Math.max(share(+each.dataset.b), 0), 1);
      each.setAttribute("x", percent(a));
      each.setAttribute("width", percent(Math.max(b - a, b > a ? 0.0015 : 0)));
    });
    placeTicks();
    fitLabels();
  }

  const axis = $(".axis svg", lanes);
  const [tick, label] = axis ? [$("line", axis).cloneNode(), $("text", axis).cloneNode()] : [];
  function placeTicks() {
    if (!axis) return;
    axis.replaceChildren(...times().flatMap((time) => {
      const line = tick.cloneNode(), text = label.cloneNode(), at = percent(share(time));
      line.setAttribute("x1", at);
      line.setAttribute("x2", at);
      text.setAttribute("x", at);
      text.textContent = time.toLocaleString("en") + " s";
      return [line, text];
    }));
  }

  // A label that does not fit stands beside its bar if that is alone in its lane, else it is left
  // out: the bar tells it when pointed at, and the list of events does.
  function shorten(text, room) {
    while (text.textContent.length > 2 && text.getComputedTextLength() > room) text.textContent = text.textContent.slice(0, -2) + "\u2026";
    if (text.getComputedTextLength() > room) text.setAttribute("visibility", "hidden");
  }

  function fitLabels() {
    all(".bar[data-label] text", lanes).forEach((text) => { text.textContent = text.parentNode.dataset.label; });
    const fit = all(".bar", lanes).map((bar) => {
      const text = $("text", bar), long = text.getComputedTextLength() + 10;
      const width = bar.width.baseVal.value, x = bar.x.baseVal.value;
      return [bar, text, long, width, x, bar.ownerSVGElement.getBoundingClientRect().width - x - width];
    });
    fit.forEach(([bar, text, long, width, before, behind]) => {
      const inside = long <= width || bar.dataset.beside === undefined;
      // Beside it where it fits, else where most of it does.
      const most = Math.max(width, before, behind);
      const place = inside ? "in" : long <= behind ? "behind" : long <= before ? "before" :
        most === width ? "in" : most === behind ? "behind" : "before";
      text.setAttribute("x", { in: 4, behind: width + 5, before: -5 }[place]);
      text.setAttribute("text-anchor", place === "before" ? "end" : "start");
      bar.classList.toggle("outside", place !== "in");
      text.setAttribute("visibility", width > 0 && (long <= width || !inside) ? "visible" : "hidden");
      if (!inside) shorten(text, { in: width, behind, before }[place] - 8);
    });
  }

  // ------------------------------------------------------------------ tables
  function sortBy(cells, ascending) {
    return (a, b) => {
      const x = cells(a), y = cells(b);
      if (x === y) return 0;
      if (x === null || x === "") return 1;
      if (y === null || y === "") return -1;
      const way = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return ascending ? way : -way;
    };
  }

  function headButtons(table, chosen) {
    all("th", table).forEach((th, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = th.textContent;
      th.textContent = "";
      th.append(button);
      button.addEventListener("click", () => {
        const ascending = th.getAttribute("aria-sort") !== "ascending";
        all("th", table).forEach((each) => each.removeAttribute("aria-sort"));
        th.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        chosen(index, ascending);
      });
    });
  }

  function evidence() {
    const table = $("#evidence-table");
    if (!table) return;
    const shownAtOnce = 200;
    const names = data.evidence.columns;
    const column = Object.fromEntries(names.map((name, index) => [name, index]));
    let rows = data.evidence.rows.slice(), most = shownAtOnce;
    const texts = new Map(rows.map((row) => [row, row.map((cell) => cell === null ? "" : String(cell)).join(" ").toLowerCase()]));
    const inputs = { text: $("#evidence-text"), kind: $("#evidence-kind"), partition: $("#evidence-partition") };
    const told = $("#evidence-told"), more = $("#evidence-more"), body = table.tBodies[0];

    function cell(value, index) {
      const td = document.createElement("td");
      const number = typeof value === "number";
      td.textContent = value === null ? "" : !number ? value : index === column["time, s"] ? value.toFixed(3) : value.toLocaleString("en");
      if (number) td.className = "num";
      return td;
    }
    function show() {
      const words = inputs.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const kind = inputs.kind.value, partition = inputs.partition.value;
      const found = rows.filter((row) =>
        (!kind || row[column.kind] === kind) && (!partition || String(row[column.partition]) === partition) &&
        words.every((word) => texts.get(row).includes(word)));
      body.replaceChildren(...found.slice(0, most).map((row) => {
        const tr = document.createElement("tr");
        tr.append(...row.map(cell));
        return tr;
      }));
      const visible = Math.min(most, found.length);
      told.textContent = visible.toLocaleString("en") + " of " + found.length.toLocaleString("en") + " rows that fit";
      more.hidden = visible >= found.length;
    }
    Object.values(inputs).forEach((input) => input.addEventListener("input", () => { most = shownAtOnce; show(); }));
    more.addEventListener("click", () => { most += 1000; show(); });
    headButtons(table, (index, ascending) => { rows = rows.slice().sort(sortBy((row) => row[index], ascending)); show(); });
    show();
  }

  // Static tables: filtered by hiding rows, sorted by moving them.
  function lists() {
    all("[data-filters]").forEach((input) => {
      const rows = all("#" + input.dataset.filters + " tbody tr").map((tr) => [tr, tr.textContent.toLowerCase()]);
      const told = $("#" + input.dataset.filters + "-told");
      input.addEventListener("input", () => {
        const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        rows.forEach(([tr, text]) => { tr.hidden = !words.every((word) => text.includes(word)); shown += !tr.hidden; });
        if (told) told.textContent = shown.toLocaleString("en") + " of " + rows.length.toLocaleString("en");
      });
    });
    all("table.sortable").forEach((table) => headButtons(table, (index, ascending) => {
      const body = table.tBodies[0];
      const value = (tr) => {
        const text = tr.cells[index].textContent.trim(), number = parseFloat(text.replace(/,/g, ""));
        return tr.cells[index].classList.contains("num") && !Number.isNaN(number) ? number : text;
      };
      body.append(...Array.from(body.rows).sort(sortBy(value, ascending)));
    }));
  }

  const copy = $("#copy");
  if (copy) copy.addEventListener("click", () => {
    const text = $("#command").textContent;
    const done = () => { copy.textContent = "copied"; };
    const select = () => getSelection().selectAllChildren($("#command"));
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select); else select();
  });

  drawAll();
  evidence();
  lists();
  let wide = lanes.clientWidth;
  new ResizeObserver(() => {
    if (lanes.clientWidth === wide) return;
    wide = lanes.clientWidth;
    drawAll();
  }).observe(lanes);
  // Paper is light, and nothing is zoomed, folded or below a fold on it.
  addEventListener("beforeprint", () => {
    root.setAttribute("data-theme", "light");
    setSpan(whole[0], whole[1]);
    all("details").forEach((each) => { each.open = true; });
    drawAll();
  });
  addEventListener("afterprint", () => { applyTheme(); drawAll(); });
})();
