// The table of cases: in the order in which they are given, filtered, each row opens its case.
"use strict";

const ROWS = 100; // that are made at once: a browser takes seconds to lay out thousands
const VERDICTS = { broken: "Broken", reject: "Reject", warn: "Warn", pass: "Pass" };
const DECISION_NAMES = { accept: "Accepted", edit: "Edited", reject: "Rejected" };

class CaseList {
  constructor(cases, decisions, open) {
    this.cases = cases;
    this.byName = new Map(cases.map((each) => [each.name, each]));
    this.decisions = decisions;
    this.body = document.getElementById("cases");
    this.filters = ["text", "verdict", "label", "decision"].map((name) => document.getElementById(`filter-${name}`));
    this.openCase = open;
    this.rows = new Map(); // made when they are shown
    this.most = ROWS;
    this.more = document.getElementById("more");
    this.more.addEventListener("click", () => this.#showMore());
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.#showMore()).observe(this.more);
    document.querySelector("table.cases").classList.toggle("unpredicted", !cases.some((each) => each.predicted));
    this.#fillLabels();
    for (const filter of this.filters) filter.addEventListener("input", () => this.apply());
    this.apply();
  }

  // Finds the cases that the filters leave, in the order of the queue, and shows the first of them.
  apply() {
    const [text, verdict, label, decision] = this.filters.map((filter) => filter.value);
    this.shown = this.cases.filter((each) => {
      const decided = this.decisions.get(each.name).decision || "none";
      return (
        (!text || searchable(each, this.decisions.get(each.name)).includes(text.toLowerCase())) &&
        (!verdict || each.verdict === verdict) &&
        (!label || labelFits(each, label)) &&
        (!decision || decided === decision || (decision === "any" && decided !== "none"))
      );
    });
    this.most = ROWS;
    this.#draw();
    const count = this.shown.length;
    document.getElementById("shown").textContent =
      count === this.cases.length ? `${count} cases` : `${count} of ${this.cases.length} cases`;
  }

  #draw() {
    this.body.replaceChildren(...this.shown.slice(0, this.most).map((each) => this.#rowOf(each)));
    this.more.hidden = this.shown.length <= this.most;
  }

  #showMore() {
    const from = this.most;
    this.most += ROWS;
    this.body.append(...this.shown.slice(from, this.most).map((each) => this.#rowOf(each)));
    this.more.hidden = this.shown.length <= this.most;
  }

  #rowOf(each) {
    if (!this.rows.has(each.name)) {
      this.rows.set(each.name, this.#row(each, this.cases.indexOf(each) + 1, this.openCase));
      this.update(each.name);
    }
    return this.rows.get(each.name);
  }

  update(name) {
    const cell = this.rows.get(name)?.querySelector(".decided");
    if (!cell) return;
    const { decision, comment } = this.decisions.get(name);
    cell.textContent = DECISION_NAMES[decision] || "";
    const { reviewed } = this.byName.get(name);
    if (reviewed) cell.append(element("span", { className: "remark", textContent: `Before: ${reviewed}` }));
    cell.dataset.decision = decision;
    if (comment.trim()) cell.append(element("span", { className: "remark", textContent: comment.trim() }));
  }

  updateAll() {
    for (const name of this.rows.keys()) this.update(name);
    this.apply();
  }

  focus(name) {
    const at = this.shown.findIndex((each) => each.name === name);
    while (at >= this.most) this.#showMore();
    if (at < 0) document.getElementById("filter-text").focus();
    else this.rows.get(name).querySelector("button").focus();
  }

  #row(each, number, open) {
    const row = element("tr", { className: each.verdict });
    const button = element("button", { type: "button", className: "name", textContent: each.name });
    row.addEventListener("click", (event) => {
      if (event.target.tagName !== "A") open(each.name);
    });
    const picture = element("td", { className: "thumb" });
    if (each.thumb) picture.append(element("img", { src: each.thumb, loading: "lazy", decoding: "async", alt: "" }));
    const name = element("th", { scope: "row" });
    name.append(button, element("span", { className: "task", textContent: each.task }));
    row.append(
      element("td", { className: "number", textContent: number }),
      picture, name,
      element("td", { className: "dice", textContent: diceText(each.predicted) }),
      verdictCell(each),
      element("td", { className: "concerns", textContent: concerns(each).slice(0, 2).join(" ") || "" }),
      element("td", { className: "decided" }),
    );
    return row;
  }

  #fillLabels() {
    const names = new Set(this.cases.flatMap((each) => each.labels.map((label) => label.name)));
    const select = document.getElementById("filter-label");
    for (const name of [...names].sort()) select.append(new Option(`with ${name.toLowerCase()}`, name));
    select.append(new Option("nothing was found", "\n"));
  }
}

function verdictCell(each) {
  const cell = element("td", {});
  cell.append(element("span", { className: "badge", textContent: VERDICTS[each.verdict] || each.verdict }));
  return cell;
}

function labelFits(each, label) {
  const found = each.labels.filter((one) => one.found);
  return label === "\n" ? each.labels.length > 0 && !found.length : found.some((one) => one.name === label);
}

// All sentences about a case, each once: why it can't be opened, why its verdict is what it is, warnings.
function concerns(each) {
  return [...new Set([each.problem, ...each.reasons, ...each.warnings].filter(Boolean).map(String))];
}

function searchable(each, entry) {
  return [each.name, each.task, ...concerns(each), entry.comment].join("\n").toLowerCase();
}

function diceText(predicted) {
  if (!predicted) return "";
  const low = predicted.low === null ? "" : ` (from ${predicted.low.toFixed(2)})`;
  return predicted.value.toFixed(2) + low;
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
