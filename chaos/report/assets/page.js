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
  const clock = (value) => (Math.round(value * 100) / 100).toLocaleString("en") + " s";

  // Faults are shaded and hatched, and named at the top of the first plot.
  function shade(named) {
    return (u) => {
      const ctx = u.ctx, ratio = devicePixelRatio || 1, box = u.bbox;
      ctx.save();
      ctx.beginPath();
      ctx.rect(box.left, box.top, box.width, box.height);
      ctx.clip();
      plots.faults.forEach(([from, to, name], place) => {
        const a = Math.max(u.valToPos(from, "x", true), box.left - 4), b = Math.min(u.valToPos(to, "x", true), box.left + box.width + 4);
        if (b <= a) return;
        ctx.globalAlpha = 0.1;
        ctx.fillStyle = css("--band");
        ctx.fillRect(a, box.top, b - a, box.height);
        ctx.globalAlpha = 0.55;
        ctx.strokeStyle = css("--band");
        ctx.lineWidth = ratio;
        ctx.setLineDash([3 * ratio, 3 * ratio]);
        [a, b].forEach((x) => { ctx.beginPath(); ctx.moveTo(x, box.top); ctx.lineTo(x, box.top + box.height); ctx.stroke(); });
        ctx.setLineDash([]);
        if (!named) return;
        ctx.globalAlpha = 1;
        ctx.fillStyle = css("--text");
        ctx.font = 600 + " " + 11 * ratio + "px system-ui, sans-serif";
        ctx.textBaseline = "top";
        const room = box.left + box.width - a - 6 * ratio;
        let text = name;
        while (text.length > 4 && ctx.measureText(text).width > room) text = text.slice(0, -2).replace(/\W+$/, "") + "\u2026";
        ctx.textAlign = "left";
        ctx.fillText(text, a + 4 * ratio, box.top + (3 + 14 * (place % 3)) * ratio);
      });
      ctx.restore();
    };
  }

  const line = (label, color, dash, width, value, more) => Object.assign({
    label, stroke: () => css(color), dash, width, value: (u, v) => value(v), points: { show: false }, spanGaps: false,
  }, more || {});

  const kinds = {
    throughput: {
      height: 230, named: true, range: (u, lo, hi) => [0, Math.max(hi || 0, 1) * 1.12],
      ticks: (u, values) => values.map((v) => v >= 1e6 ? v / 1e6 + "M" : v >= 1e4 ? v / 1e3 + "k" : v.toLocaleString("en")),
      columns: () => [plots.due, plots.acknowledged, plots.delivered, plots.failed],
      series: [
        line("due", "--due", [2, 3], 1.5, amount),
        line("acknowledged", "--ack", [], 2, amount),
        line("delivered", "--dlv", [8, 4], 1.5, amount),
        line("failed", "--bad", [3, 2, 1, 2], 2, amount, { points: { show: (u, i) => false } }),
      ],
    },
    latency: {
      height: 250, named: false, log: true,
      ticks: (u, values) => values.map((v) => v === null ? "" : v < 0.001 ? v * 1e6 + " \u00b5s" : v < 1 ? +(v * 1000).toPrecision(3) + " ms" : v + " s"),
      columns: () => [plots.sending.p50, plots.sending.p99, plots.sending.max, plots.delivery.p50, plots.delivery.p99, plots.delivery.max],
      series: [
        line("acknowledged p50", "--ack", [], 1.5, seconds), line("p99", "--ack", [6, 3], 1.5, seconds), line("max", "--ack", [1, 3], 2, seconds),
        line("delivered p50", "--dlv", [], 1.5, seconds), line("p99", "--dlv", [6, 3], 1.5, seconds), line("max", "--dlv", [1, 3], 2, seconds),
      ],
    },
  };

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
    const axis = { stroke: () => css("--muted"), grid: { stroke: () => css("--plot-grid"), width: 1 }, ticks: { stroke: () => css("--plot-grid"), width: 1 }, font: "11.5px system-ui, sans-serif" };
    const u = new uPlot({
      width: place.clientWidth, height: kind.height, padding: [8, px("--pad"), 0, 0],
      cursor: { sync: { key: "run" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: { x: { time: false, range: () => span }, y: kind.log ? { distr: 3, range: () => logs } : { range: kind.range } },
      axes: [
        Object.assign({}, axis, { values: (u, values) => values.map((v) => v + " s"), size: 30, space: 60 }),
        Object.assign({}, axis, { values: kind.ticks, size: px("--gutter") }),
      ],
      series: [{ label: "time", value: (u, v) => v === null ? "" : clock(v) }].concat(kind.series),
      hooks: {
        drawClear: [shade(kind.named)],
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
  const lanes = $("#lanes");
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
    all("[data-at]", lanes).forEach((each) => {
      const at = share(+each.dataset.at);
      const shown = at >= 0 && at <= 1;
      each.setAttribute("visibility", shown ? "visible" : "hidden");
      (each.tagName === "line" ? ["x1", "x2"] : ["x"]).forEach((name) => each.setAttribute(name, percent(at)));
    });
    fitLabels();
  }

  // A label that does not fit is left out: its bar tells it when pointed at, and the list below.
  function fitLabels() {
    const fit = all(".bar", lanes).map((bar) => {
      const text = $("text", bar), box = bar.getBoundingClientRect();
      return [text, text ? text.getComputedTextLength() + 8 <= bar.width.baseVal.value : true];
    });
    fit.forEach(([text, fits]) => text && text.setAttribute("visibility", fits ? "visible" : "hidden"));
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
      td.textContent = value === null ? "" : !number ? value : index === column.time ? value.toFixed(3) : value.toLocaleString("en");
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
  addEventListener("beforeprint", () => { setSpan(whole[0], whole[1]); all("details").forEach((each) => { each.open = true; }); });
})();
