// The table of cases: in the order in which they are given or another, filtered, each row opens its case.
"use strict";

const ROWS = 100; // that are made at once: a browser takes seconds to lay out thousands
const VERDICTS = { broken: "Broken", reject: "Reject", warn: "Warn", pass: "Pass" };
const DECISION_NAMES = { accept: "Accepted", edit: "Edited", reject: "Rejected" };

// The number by which an order puts a case: the smallest is first, what is not known last. The queue is their own order.
const ORDERS = {
  queue: () => 0,
  dice: (each) => each.predicted?.value ?? Infinity,
  bound: (each) => each.predicted?.low ?? each.predicted?.value ?? Infinity,
  novelty: (each) => (each.novelty === null ? Infinity : -each.novelty),
};

class CaseList {
  constructor(cases, decisions, open) {
    this.cases = cases;
    this.byName = new Map(cases.map((each) => [each.name, each]));
    this.decisions = decisions;
    this.body = document.getElementById("cases");
    this.filters = ["text", "verdict", "dice", "novelty", "label", "decision"].map((name) => document.getElementById(`filter-${name}`));
    this.order = document.getElementById("order");
    this.openCase = open;
    this.rows = new Map(); // made when they are shown
    this.most = ROWS;
    this.more = document.getElementById("more");
    this.more.addEventListener("click", () => this.#showMore());
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.#showMore()).observe(this.more);
    hideUnless("predicted", cases.some((each) => each.predicted));
    hideUnless("novelty", cases.some((each) => each.novelty !== null));
    this.#fillLabels();
    for (const filter of [...this.filters, this.order]) filter.addEventListener("input", () => this.apply());
    this.apply();
  }

  // Finds the cases that the filters leave, in the order of the queue, and shows the first of them.
  apply() {
    const [text, verdict, dice, novelty, label, decision] = this.filters.map((filter) => filter.value);
    this.shown = this.cases.filter((each) => {
      const decided = this.decisions.get(each.name).decision || "none";
      return (
        (!text || searchable(each, this.decisions.get(each.name)).includes(text.toLowerCase())) &&
        (!verdict || each.verdict === verdict) &&
        (!dice || diceFits(each, dice)) &&
        (!novelty || (each.novelty !== null && each.novelty >= Number(novelty))) &&
        (!label || labelFits(each, label)) &&
        (!decision || decided === decision || (decision === "any" && decided !== "none"))
      );
    });
    this.shown.sort(orderOf(this.order.value));
    document.getElementById("order-text").hidden = this.order.value !== "queue";
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
      diceCell(each.predicted),
      element("td", { className: "novelty if-novelty", textContent: each.unusual }),
      verdictCell(each),
      concernsCell(each),
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

function concernsCell(each) {
  const cell = element("td", { className: "concerns" });
  cell.append(element("span", { textContent: concerns(each).slice(0, 2).join(" · ") }));
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

// The label that is predicted to be the worst: [name, {value, text, range}].
function worst(predicted) {
  return Object.entries(predicted.labels).find(([, one]) => one.value === predicted.value) || ["", { text: "" }];
}

function diceCell(predicted) {
  const cell = element("td", { className: "dice if-predicted" });
  if (!predicted) return cell;
  const [name, { text, range }] = worst(predicted);
  cell.append(text);
  if (range) cell.append(element("span", { className: "remark", textContent: range }));
  if (Object.keys(predicted.labels).length > 1) cell.append(element("span", { className: "remark", textContent: name }));
  return cell;
}

function diceFits(each, bound) {
  return bound === "none" ? !each.predicted : each.predicted !== null && each.predicted.value < Number(bound);
}

function orderOf(name) {
  if (name === "name") return (one, other) => one.name.localeCompare(other.name, "en", { numeric: true });
  const key = ORDERS[name];
  // Infinity - Infinity is no number; 0 keeps the order of the queue.
  return (one, other) => key(one) - key(other) || 0;
}

// What is about a number that no case has is left out of the page.
function hideUnless(kind, isThere) {
  document.body.classList.toggle(`no-${kind}`, !isThere);
  if (!isThere) for (const option of document.querySelectorAll(`option.if-${kind}`)) option.remove();
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
