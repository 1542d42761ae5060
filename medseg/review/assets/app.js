// The page: begins with the list of cases, opens them, saves what was decided.
"use strict";

// Scripts that hold data call these; see medseg/review/pieces.py.
const pieces = {
  waiting: new Map(),
  scripts: new Map(),

  part(name, number) {
    return new Promise((resolve, reject) => {
      const key = `${name}-${number}`;
      pieces.waiting.set(key, resolve);
      load(`pieces/${key}.js`).catch(() => reject(new Error("a file of its data is missing")));
    });
  },

  script(name) {
    if (!pieces.scripts.has(name)) pieces.scripts.set(name, load(name));
    return pieces.scripts.get(name);
  },
};

function load(path) {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: path });
    script.onload = () => resolve(script.remove());
    script.onerror = () => reject(new Error(`${path} is missing`), script.remove());
    document.head.append(script);
  });
}

// The text of an address as it was written, where a % in it is no code.
function nameInAddress(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

class App {
  constructor({ cases }) {
    this.cases = cases;
    this.byName = new Map(cases.map((each) => [each.name, each]));
    this.decisions = new Decisions(cases);
    this.editor = new Editor(this.decisions, { decided: (name) => this.list.update(name) });
    this.list = new CaseList(cases, this.decisions, (name) => this.open(name));
    this.decisions.onchange = () => this.#describeState();
    this.#listen();
    document.getElementById("keys").append(...keyTable());
    this.#describeState();
    this.#restore();
  }

  get view() {
    return this.editor.view;
  }

  get isVolume() {
    return this.editor.facts?.kind === "volume";
  }

  async open(name) {
    const each = this.byName.get(name);
    document.getElementById("overview").hidden = true;
    document.getElementById("case").hidden = false;
    const queue = this.list.shown;
    document.getElementById("place").textContent = `${queue.indexOf(each) + 1} of ${queue.length}`;
    document.getElementById("case-title").focus({ preventScroll: true });
    window.scrollTo(0, 0);
    await this.editor.open(each);
  }

  async back() {
    const name = this.editor.each?.name;
    await this.editor.close();
    document.getElementById("case").hidden = true;
    document.getElementById("overview").hidden = false;
    this.list.updateAll();
    if (name) this.list.focus(name);
  }

  neighbour(step) {
    const queue = this.list.shown;
    const next = queue[queue.indexOf(this.editor.each) + step];
    if (next) this.open(next.name);
    else this.say(step > 0 ? "This is the last case of the list." : "This is the first case of the list.");
  }

  async save(choose = false) {
    const reviewer = document.getElementById("reviewer");
    await this.editor.keep();
    if (!this.decisions.decided) return this.say("Nothing was decided yet.");
    if (!this.decisions.reviewer.trim()) {
      reviewer.focus();
      return this.say("Write your name first, as the reviewer.");
    }
    try {
      const left = this.decisions.unkeptComments;
      const note = left ? ` ${left} comments have no decision and are not in it.` : "";
      this.say((await this.decisions.save(choose)) + note);
    } catch (error) {
      this.say(error.name === "AbortError" ? "Nothing was saved." : `Nothing was saved: ${error.message}`);
    }
  }

  async loadFile(file) {
    try {
      this.say(this.decisions.load(await file.text()));
    } catch (error) {
      this.say(`${file.name} was not loaded: ${error.message}.`);
    }
    document.getElementById("reviewer").value = this.decisions.reviewer;
    this.list.updateAll();
  }

  say(text) {
    document.getElementById("state").textContent = text;
  }

  async #restore() {
    const count = await this.decisions.restore();
    document.getElementById("reviewer").value = this.decisions.reviewer;
    this.list.updateAll();
    document.getElementById("forget").hidden = !count;
    if (count) this.say(`${count} unsaved decisions of an earlier visit were restored.`);
    if (!this.editor.isOpen) this.#openAsked();
  }

  // index.html#name opens a case.
  #openAsked() {
    const asked = nameInAddress(location.hash.slice(1));
    if (!asked || (this.editor.isOpen && this.editor.each?.name === asked)) return;
    if (this.byName.has(asked)) this.open(asked);
    else this.say(`No case is named ${asked}.`);
  }

  #describeState() {
    const { decided, dirty } = this.decisions;
    document.getElementById("count").textContent = `${decided} of ${this.cases.length} decided`;
    document.getElementById("save").classList.toggle("unsaved", dirty);
  }

  #listen() {
    const on = (id, kind, action) => document.getElementById(id).addEventListener(kind, action);
    const { editor } = this;
    on("back", "click", () => this.back());
    on("next", "click", () => this.neighbour(1));
    on("previous", "click", () => this.neighbour(-1));
    on("accept", "click", () => editor.decide("accept"));
    on("reject", "click", () => editor.decide("reject"));
    on("discard", "click", () => editor.discard());
    on("comment", "input", (event) => editor.comment(event.target.value));
    on("reviewer", "input", (event) => this.decisions.setReviewer(event.target.value));
    on("save", "click", () => this.save());
    on("save-as", "click", () => this.save(true));
    document.getElementById("save-as").hidden = !window.showSaveFilePicker;
    on("load", "click", () => document.getElementById("file").click());
    on("file", "change", (event) => event.target.files[0] && this.loadFile(event.target.files[0]));
    on("forget", "click", () => this.#forget());
    on("show-help", "click", () => document.getElementById("help").showModal());
    for (const tool of Object.keys(WAY_OF_TOOL)) on(`tool-${tool}`, "click", () => editor.setTool(tool));
    on("undo", "click", () => editor.undo());
    on("redo", "click", () => editor.redo());
    on("size", "input", (event) => { editor.size = Math.max(1, event.target.valueAsNumber || 1); });
    on("label", "input", (event) => editor.setLabel(Number(event.target.value)));
    on("opacity", "input", (event) => editor.setOpacity(event.target.valueAsNumber));
    on("visible", "input", (event) => editor.showMask(event.target.checked));
    on("window", "input", (event) => editor.setWindow(event.target.value));
    for (const id of ["centre", "width"]) on(id, "change", () => editor.setCustomWindow());
    on("layout", "input", (event) => editor.setLayout(event.target.value));
    on("zoom-in", "click", () => this.view.zoom(1.25));
    on("zoom-out", "click", () => this.view.zoom(0.8));
    on("fit", "click", () => this.view.fit());
    document.addEventListener("keydown", (event) => onKey(this, event), true);
    window.addEventListener("hashchange", () => this.#openAsked());
    window.addEventListener("beforeunload", (event) => {
      if (this.decisions.dirty) event.preventDefault();
    });
  }

  #forget() {
    this.decisions.forget();
    document.getElementById("forget").hidden = true;
    this.list.updateAll();
    this.say("The unsaved decisions were discarded.");
  }
}

window.medsegReview = {
  begin(content) {
    this.app = new App(content);
  },

  part(name, number, content) {
    pieces.waiting.get(`${name}-${number}`)?.(content);
    pieces.waiting.delete(`${name}-${number}`);
  },
};
