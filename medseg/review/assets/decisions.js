// What the reviewer decided, as one file of the format "medseg-review", and as a draft in the browser's own storage.
//
// An entry is {decision, comment, seconds, edited}; `edited` holds the bytes of the edited mask's file, or null.
"use strict";

const FORMAT = "medseg-review";
const VERSION = 1;
const DECISIONS = ["accept", "edit", "reject"];

class Decisions {
  constructor(cases) {
    this.cases = new Map(cases.map((each) => [each.name, each]));
    this.entries = new Map();
    this.reviewer = "";
    this.dirty = false;
    this.handle = null; // of the file chosen by "Save as"
    this.draft = new Draft(`${FORMAT}:${location.pathname}`);
    this.onchange = () => {};
  }

  get(name) {
    return this.entries.get(name) || { decision: "", comment: "", seconds: 0, edited: null };
  }

  set(name, changes) {
    this.entries.set(name, { ...this.get(name), ...changes });
    this.#changed("edited" in changes ? name : null);
  }

  setReviewer(text) {
    this.reviewer = text;
    this.#changed(null);
  }

  // Time is no decision: it alone does not make the work unsaved.
  addSeconds(name, seconds) {
    this.entries.set(name, { ...this.get(name), seconds: this.get(name).seconds + seconds });
  }

  get decided() {
    return [...this.entries.values()].filter((entry) => entry.decision).length;
  }

  get unkeptComments() {
    return [...this.entries.values()].filter((entry) => !entry.decision && entry.comment.trim()).length;
  }

  #changed(edited) {
    this.dirty = true;
    this.draft.write(this, edited);
    this.onchange();
  }

  text() {
    const cases = {};
    for (const [name, entry] of this.entries) {
      if (!entry.decision) continue;
      const { mask } = this.cases.get(name);
      cases[name] = {
        mask_sha256: mask.sha256,
        decision: entry.decision,
        comment: entry.comment.trim(),
        seconds: Math.round(entry.seconds),
        ...(entry.decision === "edit" && { edited: { name: mask.name, data: Bytes.toBase64(entry.edited) } }),
      };
    }
    const made = new Date().toISOString();
    return JSON.stringify({ format: FORMAT, version: VERSION, reviewer: this.reviewer.trim(), made, cases }, null, 1);
  }

  fileName() {
    const who = this.reviewer.trim().replace(/[^\p{L}\p{N}]+/gu, "_").slice(0, 40) || "reviewer";
    return `review-${who}-${new Date().toISOString().slice(0, 16).replace(/[-:]/g, "").replace("T", "-")}.json`;
  }

  // Saved into the file that was chosen, or downloaded. Returns what the reader is told.
  async save(choose) {
    const text = this.text();
    if (choose) {
      const types = [{ description: "Decisions of a review", accept: { "application/json": [".json"] } }];
      this.handle = await showSaveFilePicker({ suggestedName: this.fileName(), types });
    }
    const name = this.handle ? this.handle.name : this.fileName();
    if (this.handle) {
      const file = await this.handle.createWritable();
      await file.write(text);
      await file.close();
    } else {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    }
    this.dirty = false;
    this.draft.write(this, null);
    this.onchange();
    return `${this.decided} decisions were saved as ${name}.`;
  }

  // Decisions of an earlier file; they replace those of the same cases. Returns what the reader is told.
  load(text) {
    const file = JSON.parse(text);
    if (file?.format !== FORMAT || file.version !== VERSION || typeof file.cases !== "object") {
      throw new Error(`it is no ${FORMAT} file of version ${VERSION}`);
    }
    let [taken, stale] = [0, 0];
    for (const [name, each] of Object.entries(file.cases)) {
      const mask = this.cases.get(name)?.mask;
      const edited = each.decision === "edit" ? each.edited?.data : null;
      const fits = mask && mask.sha256 === each.mask_sha256 && DECISIONS.includes(each.decision) &&
        (each.decision !== "edit" || (edited && each.edited.name === mask.name));
      if (!fits) {
        stale++;
        continue;
      }
      taken++;
      this.entries.set(name, {
        decision: each.decision,
        comment: String(each.comment ?? ""),
        seconds: Number(each.seconds) || 0,
        edited: edited ? Bytes.fromBase64(edited) : null,
      });
      this.draft.write(this, name);
    }
    this.reviewer ||= String(file.reviewer ?? "");
    this.onchange();
    const left = stale ? ` ${stale} were left out: the case is not here, or was segmented anew since.` : "";
    return `${taken} decisions of ${file.reviewer || "nobody named"} were loaded.${left}`;
  }

  // What was left unsaved in this browser, if the masks are still the same. Returns the number of cases.
  async restore() {
    const draft = await this.draft.read();
    for (const [name, entry] of draft.entries) {
      const mask = this.cases.get(name)?.mask;
      if (!mask || mask.sha256 !== entry.mask || (entry.decision === "edit" && !entry.edited)) continue;
      this.entries.set(name, { ...entry, edited: entry.edited || null });
    }
    this.reviewer = draft.reviewer;
    this.dirty = draft.dirty && this.entries.size > 0;
    this.onchange();
    return this.dirty ? this.decided : 0;
  }

  forget() {
    this.entries.clear();
    this.dirty = false;
    this.draft.clear();
    this.onchange();
  }
}

// Best effort: a browser may forbid storage to a page from a folder. Texts in localStorage, masks in IndexedDB.
class Draft {
  constructor(key) {
    this.key = key;
    this.database = null;
  }

  write(decisions, edited) {
    const entries = [...decisions.entries].map(([name, entry]) => [
      name, { ...entry, edited: null, mask: decisions.cases.get(name)?.mask?.sha256 },
    ]);
    const { reviewer, dirty } = decisions;
    try {
      localStorage.setItem(this.key, JSON.stringify({ reviewer, dirty, entries }));
    } catch { /* full or forbidden */ }
    if (edited !== null) this.#store("readwrite", (store) => store.put(decisions.get(edited).edited, edited));
  }

  async read() {
    let draft = null;
    try {
      draft = JSON.parse(localStorage.getItem(this.key));
    } catch { /* forbidden or damaged */ }
    if (!draft) return { reviewer: "", dirty: false, entries: [] };
    for (const [name, entry] of draft.entries) {
      if (entry.decision === "edit") entry.edited = await this.#store("readonly", (store) => store.get(name));
    }
    return draft;
  }

  clear() {
    try {
      localStorage.removeItem(this.key);
    } catch { /* forbidden */ }
    this.#store("readwrite", (store) => store.clear());
  }

  async #store(mode, action) {
    try {
      this.database ||= await opened(this.key);
      return await done(action(this.database.transaction("masks", mode).objectStore("masks")));
    } catch {
      return null;
    }
  }
}

function opened(name) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => request.result.createObjectStore("masks");
  return done(request);
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
