
"use strict";
// Nothing of the data is ever parsed as HTML: texts go in by textContent only.
(() => {
  const ROW = 54; // pixels, as in page.css
  const SPARE = 8; // rows drawn above and below what is seen
  const byId = (id) => document.getElementById(id);
  const list = byId("list"), space = byId("space"), detail = byId("detail"), search = byId("search");
  const filters = [...document.querySelectorAll("[data-filter]")];
  let data, rows, shown, selected = -1, lowered = null, drawn = new Map();

  async function unpacked(text) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  function made(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  const outcome = (i) => data.outcomes[rows.outcome[i]];
  const words = (name) => name.replaceAll("_", " ");
  const problem = (i) => {
    const [benchmark, id, question, gold, choices, solution, chains] =
      data.problems[rows.problem[i]];
    return { benchmark, id, question, gold, choices, solution, chains };
  };
  const seedOf = (i) => (rows.seed[i] === null ? "" : `seed ${rows.seed[i]}`);
  const sampleOf = (i) => (data.severalSamples ? `sample ${rows.sample[i]}` : "");
  const whose = (i) => [data.runs.length > 1 ? data.runs[rows.run[i]] : "",
    data.arms[rows.arm[i]], seedOf(i), sampleOf(i)].filter(Boolean).join(" · ");

  // What each filter compares: a value of every row, and the names of the values.
  const FILTERS = {
    run: { of: (i) => rows.run[i], name: (v) => data.runs[v] },
    benchmark: { of: (i) => data.problems[rows.problem[i]][0], name: (v) => data.benchmarks[v] },
    arm: { of: (i) => rows.arm[i], name: (v) => data.arms[v] },
    seed: { of: (i) => rows.seed[i], name: (v) => String(v ?? "none") },
    style: { of: (i) => rows.style[i], name: (v) => data.styles[v] },
    outcome: { of: (i) => rows.outcome[i], name: (v) => words(data.outcomes[v]) },
  };

  function fillFilters() {
    for (const label of filters) {
      const { of, name } = FILTERS[label.dataset.filter];
      const counts = new Map();
      for (let i = 0; i < rows.problem.length; i++) counts.set(of(i), (counts.get(of(i)) ?? 0) + 1);
      const select = label.querySelector("select");
      select.append(made("option", { value: "", textContent: "all" }));
      for (const value of [...counts.keys()].sort((a, b) => a - b)) {
        const textContent = `${name(value)} (${counts.get(value).toLocaleString("en")})`;
        select.append(made("option", { value: String(value), textContent }));
      }
      label.hidden = counts.size < 2;
    }
  }

  function filter() {
    const wanted = filters
      .map((label) => [FILTERS[label.dataset.filter].of, label.querySelector("select").value])
      .filter(([, value]) => value !== "");
    const text = search.value.trim().toLowerCase();
    if (text && !lowered) {
      lowered = {
        texts: rows.text.map((t) => (t ?? "").toLowerCase()),
        questions: data.problems.map((p) => `${p[2] ?? ""}\n${p[1]}`.toLowerCase()),
      };
    }
    const asked = text ? lowered.questions.map((q) => q.includes(text)) : null;
    const before = selected >= 0 ? shown[selected] : -1;
    shown = [];
    for (let i = 0; i < rows.problem.length; i++) {
      if (!wanted.every(([of, value]) => String(of(i)) === value)) continue;
      if (text && !asked[rows.problem[i]] && !lowered.texts[i].includes(text)) continue;
      shown.push(i);
    }
    const all = rows.problem.length.toLocaleString("en");
    byId("count").textContent = `${shown.length.toLocaleString("en")} of ${all} predictions.`;
    space.style.height = `${shown.length * ROW}px`;
    for (const element of drawn.values()) element.remove();
    drawn.clear();
    const kept = shown.indexOf(before);
    if (kept < 0) list.scrollTop = 0;
    select(kept >= 0 ? kept : shown.length ? 0 : -1);
    draw();
  }

  function drawnRow(at) {
    const i = shown[at];
    const badge = made("span", {
      className: `badge o${rows.outcome[i]}`, textContent: words(outcome(i)),
    });
    const answer = rows.answer[i] === null ? "" : ` · answer ${rows.answer[i].slice(0, 40)}`;
    const about = made("div", { className: "about" }, badge, ` · ${whose(i)}${answer}`);
    const text = problem(i).question ?? problem(i).id;
    const question = made("div", { dir: "auto", textContent: text.slice(0, 200) });
    const row = made("div", { className: "row", id: `row${at}`, role: "option" }, about, question);
    row.setAttribute("aria-posinset", at + 1);
    row.setAttribute("aria-setsize", shown.length);
    row.setAttribute("aria-selected", at === selected);
    row.style.top = `${at * ROW}px`;
    row.addEventListener("click", () => { select(at); read(false); });
    return row;
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const end = Math.min(shown.length,
      Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
    for (const [at, element] of drawn) {
      if (at >= first && at < end) continue;
      element.remove();
      drawn.delete(at);
    }
    for (let at = first; at < end; at++) {
      if (drawn.has(at)) continue;
      drawn.set(at, drawnRow(at));
      space.append(drawn.get(at));
    }
    if (drawn.has(selected)) list.setAttribute("aria-activedescendant", `row${selected}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function select(at) {
    drawn.get(selected)?.setAttribute("aria-selected", "false");
    selected = at;
    if (at < 0) {
      detail.replaceChildren(made("p", { className: "note", textContent: "Nothing fits." }));
      return;
    }
    const top = at * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    const below = top + ROW - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
    draw();
    drawn.get(at)?.setAttribute("aria-selected", "true");
    show(shown[at]);
  }

  // On a phone the detail lies below the list.
  function read(focus) {
    const below = detail.getBoundingClientRect().top >= list.getBoundingClientRect().bottom;
    if (below) detail.scrollIntoView({ block: "start" });
    if (focus) detail.focus({ preventScroll: true });
  }

  const titled = (title, ...children) => [made("h4", { textContent: title }), ...children];
  const block = (text, code) =>
    made("pre", { className: code ? "text code" : "text", dir: "auto", textContent: text });

  // marks: how many equations, then start, end and true value of each false one.
  function chain(i) {
    const text = rows.text[i], marks = rows.marks[i];
    const code = ["program", "equation"].includes(data.styles[rows.style[i]]);
    const element = block("", code);
    let position = 0;
    for (let m = 1; m < marks.length; m += 3) {
      const [start, end, exact] = marks.slice(m, m + 3);
      const wrong = made("mark", { textContent: text.slice(start, end) });
      wrong.title = `the calculator says ${exact}`;
      element.append(text.slice(position, start), wrong,
        made("span", { className: "due", textContent: ` [calculator: ${exact}]` }));
      position = end;
    }
    element.append(text.slice(position));
    const count = marks[0], wrong = (marks.length - 1) / 3;
    const said = code ? "" : count === 0 ? "No equation that arithmetic alone decides."
      : `${count} equation${count > 1 ? "s" : ""}, ${wrong || "none"} false.`;
    return [element, made("p", { className: "note", textContent: said })];
  }

  function facts(pairs) {
    const element = made("dl", { className: "facts" });
    for (const [name, value] of pairs) {
      if (value === null || value === undefined || value === "") continue;
      element.append(made("dt", { textContent: name }), made("dd", { textContent: value }));
    }
    return element;
  }

  function teacher(chains) {
    if (!chains.length) {
      const said = "No chain for this problem: the teacher is asked about training problems.";
      return [made("p", { className: "note", textContent: said })];
    }
    return chains.flatMap(([name, style, text, reason]) => [
      made("p", { className: "note",
        textContent: `${name}, ${style}: ${reason ? `left out (${reason})` : "kept"}` }),
      block(text, ["program", "equation"].includes(style)),
    ]);
  }

  function others(i) {
    const same = [];
    for (let j = 0; j < rows.problem.length && same.length < 40; j++) {
      if (rows.problem[j] === rows.problem[i] && j !== i) same.push(j);
    }
    const buttons = same.map((j) => {
      const button = made("button", { type: "button", textContent: `${whose(j)}: ` },
        made("span", { className: `badge o${rows.outcome[j]}`, textContent: words(outcome(j)) }));
      button.addEventListener("click", () => {
        const at = shown.indexOf(j);
        if (at >= 0) select(at); else show(j);
        detail.focus({ preventScroll: true });
      });
      return button;
    });
    return buttons.length ? titled("The same problem by others",
      made("div", { className: "others" }, ...buttons)) : [];
  }

  const EXTRACTIONS = {
    marker: "after a mark such as “The answer is”", equation: "after an equals sign at a mark",
    last: "the last quantity: no mark was there", executed: "the program's value",
    solved: "the system's solution", none: "none was found",
  };
  const FINISHED = new Map([[1, "yes"], [0, "no: it hit the length limit"]]);

  function show(i) {
    const p = problem(i), extraction = data.extractions[rows.extraction[i]];
    const badge = made("span", {
      className: `badge o${rows.outcome[i]}`, textContent: words(outcome(i)),
    });
    const text = rows.text[i];
    const choices = (p.choices ?? []).map((c, k) => `${String.fromCharCode(65 + k)}  ${c}`);
    detail.replaceChildren(
      made("h3", {}, badge, ` · ${whose(i)}`),
      made("p", { className: "note", textContent: `${data.benchmarks[p.benchmark]} · ${p.id}` }),
      ...titled("Question", block(p.question ?? "(the problem's text was not found)")),
      ...(choices.length ? [block(choices.join("\n"))] : []),
      facts([["gold", p.gold], ["answer", rows.answer[i] ?? "none"],
        ["verdict", rows.detail[i]], ["found", EXTRACTIONS[extraction] ?? extraction],
        ["style", data.styles[rows.style[i]]], ["finished", FINISHED.get(rows.finished[i])]]),
      ...titled("Student", ...(text === null
        ? [made("p", { className: "note", textContent: "The text was not found." })] : chain(i))),
      ...titled("Teacher", ...teacher(p.chains)),
      ...(p.solution ? titled("The benchmark's own solution", block(p.solution)) : []),
      ...others(i),
    );
    detail.scrollTop = 0;
  }

  function moved(event) {
    const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page,
      Home: -Infinity, End: Infinity };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps && shown.length) {
      select(Math.min(shown.length - 1, Math.max(0, selected + steps[event.key])));
      event.preventDefault();
    } else if (event.key === "Enter" && selected >= 0) {
      read(true);
      event.preventDefault();
    }
  }

  function keys(event) {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      search.focus();
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (event.target === search && search.value) { search.value = ""; filter(); }
      else if (byId("browser").contains(event.target)) {
        list.focus({ preventScroll: true });
        if (list.getBoundingClientRect().bottom < 0) list.scrollIntoView();
      }
    } else if (event.target === search && ["ArrowDown", "Enter"].includes(event.key)) {
      list.focus();
      event.preventDefault();
    }
  }

  async function start() {
    const columns = byId("columns");
    data = await unpacked(columns.textContent.trim());
    columns.remove();
    rows = data.rows;
    data.severalSamples = rows.sample.some((s) => s !== 0);
    byId("browser").hidden = false;
    fillFilters();
    filter();
    list.addEventListener("scroll", draw, { passive: true });
    list.addEventListener("keydown", moved);
    document.addEventListener("keydown", keys);
    search.addEventListener("input", filter);
    byId("filters").addEventListener("change", filter);
    byId("filters").addEventListener("reset", () => setTimeout(filter));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    new ResizeObserver(draw).observe(list);
    document.body.dataset.ready = "yes";
  }

  // Unpacked only when a reader comes near.
  if (byId("columns").textContent.trim()) {
    const near = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      near.disconnect();
      start();
    }, { rootMargin: "1500px" });
    near.observe(byId("predictions"));
  }
})();
