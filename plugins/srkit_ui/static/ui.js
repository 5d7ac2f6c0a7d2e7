// What the page does: files go to the server as they are, and results come back so.
const BASE = new URL("../", import.meta.url);
const at = (path) => new URL(path, BASE).href;
const dead = "The server doesn't answer. Start it again with “srkit ui”; this page then goes on by itself.";
let about, start;

async function ask(path, options = {}) {
  const answer = await fetch(at(path), options);
  if (answer.ok) return answer;
  let text = `The server answers ${answer.status}.`;
  try { text = (await answer.json()).error ?? text; } catch { /* not ours */ }
  throw Object.assign(new Error(text), { status: answer.status });
}
const json = async (path, options) => (await ask(path, options)).json();
const lost = (error) => error instanceof TypeError; // what fetch throws without a server
const make = (tag, attributes = {}, ...inside) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true || value === false) element.toggleAttribute(key, value);
    else element.setAttribute(key, value);
  }
  element.append(...inside);
  return element;
};
const post = (value) => ({ method: "POST", body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const bytes = (n) => (n < 1e6 ? `${Math.max(1, Math.round(n / 1e3))} kB` : `${(n / 1e6).toFixed(1)} MB`);

async function upload(file, signal) {
  if (file.size > about.file_bytes) throw new Error(`${file.name}: ${bytes(file.size)} are too many; the limit is ${about.file_bytes >> 20} MB.`);
  let body;
  try { body = await file.arrayBuffer(); } catch { throw new Error(`${file.name} can't be read by the browser: is it a folder, or gone?`); }
  return json(`images?name=${encodeURIComponent(file.name)}`, { method: "POST", body, signal });
}
// Upscale one image; `tell` hears of its progress.
async function upscale(id, options, signal, tell) {
  const answer = await ask(`images/${id}/upscale`, { ...post(options), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "", last = {}; ;) {
    const { value, done } = await reader.read();
    if (done) { if (last.error) throw new Error(last.error); if (last.result) return last; throw new TypeError("the answer broke off"); }
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const line of lines) { last = JSON.parse(line); tell(last); }
  }
}
const download = (stored) => make("a", { href: at(`images/${stored.id}/file`), download: stored.name }).click();

// A thumbnail's address: as small as it is shown.
const thumb = ({ id, width, height }) => {
  const factor = Math.min(1, 112 / Math.min(width, height)), [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * factor)));
  return at(`images/${id}?width=${w}&height=${h}`);
};

// Before and after, at any zoom: the edge stays where it is in the window, whatever part is shown.
class Viewer {
  constructor(place) {
    this.zoom = 0; // result pixels to the screen's; 0: as large as fits
    this.before = make("select", { "aria-label": "Before" });
    this.after = make("select", { "aria-label": "After" });
    for (const select of [this.before, this.after]) select.addEventListener("change", () => { select.dataset.own = "1"; this.draw(); });
    this.range = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, "aria-label": "Edge between before and after", oninput: () => this.cut() });
    this.shown = make("output", { "aria-label": "Zoom" });
    this.stage = make("div", { class: "stage", tabindex: 0, role: "group", "aria-label": "Before and after; plus and minus zoom, arrows scroll" });
    this.sheet = make("div", { class: "sheet" });
    this.edge = make("div", { class: "edge", "aria-hidden": "true" });
    this.tags = ["before", "after"].map((side) => make("span", { class: `tag ${side}` }));
    this.list = make("div", { class: "faces", role: "group", "aria-label": "Faces found" });
    this.stage.append(this.sheet);
    const button = (words, label, zoom) => make("button", { type: "button", "aria-label": label, onclick: () => this.to(zoom()) }, words);
    this.root = make("div", { hidden: true },
      make("div", { class: "bar" }, make("label", {}, "Before ", this.before), make("label", {}, "After ", this.after),
        make("div", { class: "zoom" }, button("−", "Zoom out", () => this.now() / 2), this.shown, button("+", "Zoom in", () => this.now() * 2),
          button("Fit", "Fit to the window", () => 0), button("1:1", "One pixel to one", () => 1), button("8:1", "Eight pixels to one", () => 8))),
      make("div", { class: "bar" }, this.range), make("div", { class: "frame" }, this.stage, this.edge, ...this.tags), this.list);
    place.replaceChildren(this.root);
    this.stage.addEventListener("scroll", () => this.cut());
    this.stage.addEventListener("keydown", (e) => { if ("+=-".includes(e.key)) { e.preventDefault(); this.to(this.now() * (e.key === "-" ? 0.5 : 2)); } });
    this.stage.addEventListener("wheel", (e) => { if (e.ctrlKey) { e.preventDefault(); this.to(this.now() * (e.deltaY < 0 ? 1.25 : 0.8), e); } }, { passive: false });
    for (const part of [this.stage, this.edge]) part.addEventListener("pointerdown", (e) => this.drag(e));
    new ResizeObserver(() => this.size()).observe(this.stage);
  }
  // layers: {key: {label, src, sharp}}; size: width and height of the result
  show(size, layers, before, after, faces = [], toggle = null) {
    this.root.hidden = false;
    [this.full, this.layers, this.faces, this.toggle] = [size, layers, faces, toggle];
    this.stage.style.aspectRatio = size.join("/");
    for (const [select, wanted] of [[this.before, before], [this.after, after]]) {
      const kept = select.value in layers && select.dataset.own ? select.value : wanted;
      select.replaceChildren(...Object.entries(layers).map(([key, layer]) => make("option", { value: key }, layer.label)));
      select.value = kept;
    }
    this.draw();
  }
  hide() { this.root.hidden = true; }
  draw() {
    const sides = [[this.before, "Before"], [this.after, "After"]].map(([select, side]) => ({ ...this.layers[select.value], side }));
    const images = sides.map(({ label, src, sharp, side }) => make("img", { src, alt: `${side}: ${label}`, draggable: "false", class: sharp ? "nearest" : "" }));
    const inside = () => [...this.sheet.querySelectorAll("button"), ...this.list.querySelectorAll("input")];
    const focused = inside().indexOf(document.activeElement);
    this.sheet.replaceChildren(...images, ...this.outlines());
    if (focused >= 0) inside()[focused]?.focus(); // it was drawn anew
    sides.forEach(({ label, guess }, n) => { this.tags[n].textContent = label + (guess ? ", a guess, not evidence" : ""); });
    this.over = images[1];
    this.size();
  }
  outlines() {
    const words = (face, n) => `face ${n + 1}, ${Math.round(face.size)} pixels`;
    this.list.replaceChildren(...this.faces.map((face, n) => {
      const box = make("input", { type: "checkbox", disabled: !face.can, onchange: () => this.toggle(n) });
      box.checked = face.on;
      return make("label", {}, box, ` ${words(face, n)}${face.can ? "" : ` (${face.note})`}`);
    }));
    return this.faces.map((face, n) => {
      const [l, t, r, b] = face.box, style = `left:${l}%;top:${t}%;width:${r - l}%;height:${b - t}%`;
      const name = `${words(face, n)}: ${face.on ? "restored; leave it out" : "left as it is; restore it"}`;
      return make("button", { type: "button", class: "face", style, "aria-pressed": String(face.on), "aria-label": name, title: name, disabled: !face.can, onclick: () => this.toggle(n) }, make("span", {}, n + 1));
    });
  }
  fit() { const [w, h] = this.full; return Math.min(this.stage.clientWidth / w, this.stage.clientHeight / h) * devicePixelRatio; }
  now() { return this.zoom || this.fit(); }
  to(zoom, at = null) {
    const box = this.stage.getBoundingClientRect(), x = at ? at.clientX - box.left : box.width / 2, y = at ? at.clientY - box.top : box.height / 2;
    const old = this.now(), [left, top] = [this.stage.scrollLeft + x, this.stage.scrollTop + y];
    this.zoom = zoom && Math.min(32, Math.max(1 / 32, zoom));
    this.size();
    const factor = this.now() / old;
    this.stage.scrollTo(left * factor - x, top * factor - y);
  }
  size() {
    if (!this.full || !this.stage.clientWidth) return;
    const factor = this.now() / devicePixelRatio;
    this.sheet.style.width = `${this.full[0] * factor}px`;
    this.sheet.style.height = `${this.full[1] * factor}px`;
    this.shown.value = `${Math.round(this.now() * 100)}%`;
    for (const image of this.sheet.querySelectorAll("img")) image.classList.toggle("sharp", image.classList.contains("nearest") || this.now() >= 1);
    this.cut();
  }
  cut() {
    if (!this.over) return;
    const x = (this.stage.clientWidth * this.range.value) / 100, inside = this.stage.scrollLeft + x - this.sheet.offsetLeft;
    this.over.style.clipPath = `inset(0 0 0 ${Math.min(1, Math.max(0, inside / this.sheet.clientWidth)) * 100}%)`;
    this.edge.style.left = `${x}px`;
  }
  drag(e) {
    if (e.button || e.target.closest(".face")) return;
    const box = this.stage.getBoundingClientRect(), onEdge = e.target === this.edge;
    const moves = (now) => {
      if (onEdge) { this.range.value = ((now.clientX - box.left) / this.stage.clientWidth) * 100; this.cut(); }
      else if (e.pointerType === "mouse") this.stage.scrollBy(-now.movementX, -now.movementY);
    };
    const ends = () => { removeEventListener("pointermove", moves); removeEventListener("pointerup", ends); removeEventListener("pointercancel", ends); };
    addEventListener("pointermove", moves); addEventListener("pointerup", ends); addEventListener("pointercancel", ends);
    if (onEdge) e.preventDefault();
  }
}
const layersOf = (image, result, name, generates) => ({
  nearest: { label: "nearest", src: at(`images/${image.id}`), sharp: true },
  lanczos: { label: "Lanczos", src: at(`images/${image.id}?width=${result.width}&height=${result.height}`) },
  result: { label: name, src: at(`images/${result.id}`), guess: generates },
});
const generates = (name) => about.models.find((model) => model.name === name)?.generates ?? true;

class Panel {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(`[data-${name}]`);
    this.viewer = new Viewer(this.find("viewer"));
    this.find("examples").append(...about.examples.map((name) => make("button", { type: "button", onclick: () => this.example(name) },
      make("img", { src: at(`static/${name}`), alt: "" }), name.replace(/\.png$/, "").replaceAll("-", " "))));
    for (const place of root.querySelectorAll("[data-drop]")) {
      const over = (on) => (e) => { e.preventDefault(); place.classList.toggle("over", on); };
      place.addEventListener("dragover", over(true));
      place.addEventListener("dragleave", over(false));
      place.addEventListener("drop", (e) => { over(false)(e); this.take([...e.dataTransfer.files], place.dataset.drop); });
    }
    for (const input of root.querySelectorAll("[data-files]")) input.addEventListener("change", () => { this.take([...input.files], input.dataset.files); input.value = ""; });
    document.addEventListener("paste", (e) => {
      const files = [...(e.clipboardData?.files ?? [])];
      if (files.length && root.offsetParent) { e.preventDefault(); this.take(files, ""); }
    });
    this.find("cancel").addEventListener("click", () => this.cancel());
  }
  say(text) { this.find("status").textContent = text; }
  look() { if (this.find("status").getBoundingClientRect().top > 0.8 * innerHeight) this.find("status").scrollIntoView(); } // on a phone
  async example(name) {
    try { this.take([new File([await (await ask(`static/${name}`)).blob()], name)], ""); } catch (error) { this.say(lost(error) ? dead : error.message); }
  }
}

class Upscale extends Panel {
  constructor(root) {
    super(root);
    this.items = [];
    this.find("model").append(make("option", { value: "" }, "automatic"), ...about.models.map((m) => make("option", { value: m.name }, `${m.name}${m.scale ? ` (x${m.scale})` : ""}: ${m.text}`)));
    this.find("format").append(...about.formats.map((name) => make("option", { value: name }, name)));
    for (const name of ["model", "scale", "format", "faces"]) this.find(name).addEventListener("change", () => this.refresh());
    this.find("model").addEventListener("change", () => this.card());
    this.find("again").addEventListener("click", () => { for (const item of this.items) if (this.stale(item)) item.state = "waiting"; this.pump(); });
    this.find("clear").addEventListener("click", () => { this.cancel(); this.shown = null; this.show(); for (const item of [...this.items]) this.drop(item); });
    this.find("zip").addEventListener("click", () => this.zip());
    this.card();
  }
  options(item) {
    const scale = this.find("scale").valueAsNumber;
    const faces = this.find("faces").checked;
    return { model: this.find("model").value, scale: Number.isFinite(scale) ? scale : null, faces, format: this.find("format").value, skip: faces ? [...item.skip] : [] };
  }
  stale(item) { return ["failed", "cancelled"].includes(item.state) || (item.state === "done" && item.key !== JSON.stringify(this.options(item))); }
  async card() {
    const name = this.find("model").value || about.automatic[0];
    try { this.find("card").innerHTML = (await json(`card?model=${encodeURIComponent(name)}`)).html; } catch (error) { this.find("card").textContent = error.message; }
  }
  take(files) {
    const fresh = files.map((file) => ({ file, state: "waiting", skip: new Set(), faces: [] }));
    this.items.push(...fresh);
    if (!this.shown && fresh.length) this.shown = fresh[0];
    this.pump();
    this.look();
  }
  cancel() { for (const item of this.items) if (item.state === "waiting") item.state = "cancelled"; this.abort?.abort(); this.refresh(); }
  drop(item) {
    if (item.state === "busy") this.abort?.abort();
    for (const stored of [item.image, item.result]) if (stored) ask(`images/${stored.id}`, { method: "DELETE" }).catch(() => {});
    const place = this.items.indexOf(item), focused = item.row?.contains(document.activeElement);
    this.items.splice(place, 1);
    if (this.shown === item) { this.shown = this.items[0]; this.show(); }
    item.row?.remove();
    this.refresh();
    if (focused) (this.items[Math.min(place, this.items.length - 1)]?.row.querySelector(".remove") ?? this.find("files")).focus();
  }
  async pump() {
    this.refresh();
    if (this.running) return;
    this.running = true;
    for (let item; (item = this.items.find((each) => each.state === "waiting"));) await this.work(item);
    this.running = false;
    this.refresh();
  }
  async work(item) {
    item.state = "busy";
    item.progress = item.before = null;
    this.abort = new AbortController();
    const options = this.options(item), { signal } = this.abort;
    this.refresh();
    try {
      item.image ??= await upload(item.file, signal);
      const done = await upscale(item.image.id, options, signal, (event) => {
        if ("waiting" in event) item.before = event.waiting;
        if ("progress" in event) { item.before = null; item.progress = event.progress; }
        this.refresh(item);
      });
      const old = item.result;
      Object.assign(item, { state: "done", key: JSON.stringify(options), result: done.result, notes: done.notes, faces: done.faces, model: options.model, faced: options.faces });
      if (old) ask(`images/${old.id}`, { method: "DELETE" }).catch(() => {});
      if (!this.items.includes(item)) this.drop(item); // it was removed meanwhile
      if (this.shown === item) { this.show(); if (!old) this.look(); }
    } catch (error) {
      if (error.name === "AbortError") item.state = "cancelled";
      else if (lost(error)) { item.state = "waiting"; await this.revive(); }
      else if (error.status === 404 && item.image) { item.image = null; item.state = "waiting"; }
      else if (error.status === 503) { item.state = "waiting"; this.say(error.message); await pause(2); }
      else { item.state = "failed"; item.error = error.message; }
    }
    this.refresh();
  }
  // Wait for a server; what a killed one had is sent again.
  async revive() {
    for (; ;) {
      try { await look(); return; } catch { await pause(1); }
    }
  }
  forget() { for (const item of this.items) { item.image = item.result = null; if (item.state === "done") item.state = "waiting"; } this.pump(); }
  async zip() {
    this.say("Packing…");
    try { download(await json("zip", post({ ids: this.items.filter((i) => i.result).map((i) => i.result.id) }))); this.say(""); } catch (error) { this.say(lost(error) ? dead : error.message); }
  }
  show() {
    const item = this.shown;
    if (!item?.result) { this.viewer.hide(); return; }
    const { width: w, height: h } = item.image;
    const faces = item.faces.map((f, n) => ({ ...f, box: f.box.map((v, i) => (100 * Math.min(i % 2 ? h : w, Math.max(0, v))) / (i % 2 ? h : w)), on: f.restored, can: f.restored || item.skip.has(n) }));
    const guess = item.faces.some((f) => f.restored) || generates(item.model || about.automatic[item.faced ? 1 : 0]);
    this.viewer.show([item.result.width, item.result.height], layersOf(item.image, item.result, `result of ${item.model || "srkit"}`, guess), "lanczos", "result", faces,
      (n) => { item.skip.has(n) ? item.skip.delete(n) : item.skip.add(n); if (item.state !== "busy") item.state = "waiting"; this.pump(); });
  }
  refresh(only = null) {
    for (const item of only ? [only] : this.items) this.row(item);
    if (only) return;
    const count = (state) => this.items.filter((item) => item.state === state).length;
    const left = count("waiting") + count("busy"), done = count("done"), failed = count("failed");
    this.find("again").disabled = !this.items.some((item) => this.stale(item));
    this.find("again").classList.toggle("primary", !this.find("again").disabled);
    this.find("cancel").disabled = !left;
    this.find("zip").disabled = !this.items.some((item) => item.result);
    this.find("clear").disabled = !this.items.length;
    this.find("empty").hidden = this.items.length > 0;
    if (this.items.length) this.say(`${done} of ${this.items.length} done${failed ? `, ${failed} failed` : ""}${left ? "…" : "."}`);
    else this.say("");
  }
  row(item) {
    item.row ??= this.find("items").appendChild(make("li"));
    item.row.classList.toggle("shown", item === this.shown);
    if (item.bar && item.progress !== null) item.bar.value = item.progress;
    const key = [item.state, item.before, item.error, item.result?.id, item.image?.id].join();
    if (item.drawn === key) return;
    item.drawn = key;
    const { name } = item.file, focused = [...item.row.children].findIndex((part) => part === document.activeElement);
    const inside = [make("button", { type: "button", class: "link name", onclick: () => { this.shown = item; this.show(); this.refresh(); } }, name)];
    if (item.image) inside.unshift(make("img", { src: thumb(item.image), alt: "", loading: "lazy" }));
    item.bar = item.state === "busy" && !item.before ? make("progress", { "aria-label": `Progress of ${name}`, max: 1 }) : null;
    if (item.bar) inside.push(item.bar);
    else if (item.state === "busy") inside.push(`${item.before} before it`);
    else if (item.state === "failed") inside.push(make("span", { class: "error", role: "alert" }, item.error));
    else if (item.state !== "done") inside.push(item.state);
    else {
      const { result, image } = item;
      const [size, name] = [bytes(result.bytes), `Download ${result.name}`];
      inside.push(`${image.width}×${image.height} → ${result.width}×${result.height}, ${size}`, make("a", { href: at(`images/${result.id}/file`), download: result.name, title: name, "aria-label": `${name} (${size})` }, "Download"));
    }
    inside.push(make("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, onclick: () => this.drop(item) }, "✕"));
    if (item.state === "done" && item.notes.length) inside.push(make("span", { class: "small" }, item.notes.join("; ")));
    item.row.replaceChildren(...inside);
    if (focused >= 0) (item.row.children[focused] ?? item.row.lastChild).focus();
  }
}

class Compare extends Panel {
  constructor(root) {
    super(root);
    this.files = {};
    this.find("models").append(...about.models.map((m) => {
      const box = make("input", { type: "checkbox", value: m.name });
      box.checked = about.automatic.includes(m.name);
      return make("label", { class: "check", title: m.text }, box, ` ${m.name}${m.scale ? ` (x${m.scale})` : ""}`);
    }));
    this.find("run").addEventListener("click", () => this.run());
  }
  take([file], which) {
    if (!file) return;
    this.choose(which || "image", file);
  }
  choose(which, file) {
    const place = this.root.querySelector(`[data-name=${which}]`);
    this.files[which] = file;
    place.replaceChildren();
    if (file) place.append(file.name, " ", make("button", { type: "button", class: "link", "aria-label": `Remove ${file.name}`, onclick: () => { this.choose(which, null); this.root.querySelector(`[data-files=${which}]`).focus(); } }, "remove"));
    this.find("run").disabled = !this.files.image || !this.find("cancel").disabled;
  }
  cancel() { this.abort?.abort(); }
  forget() { /* each run sends its files anew */ }
  async run() {
    const models = [...this.find("models").querySelectorAll("input:checked")].map((box) => box.value), scale = this.find("scale").valueAsNumber;
    if (!models.length) { this.say("Choose a model."); return; }
    this.abort = new AbortController();
    const { signal } = this.abort, notes = new Set(), layers = {}, scores = [];
    this.find("run").disabled = !(this.find("cancel").disabled = false);
    this.find("rows").replaceChildren();
    this.find("empty").hidden = !(this.find("results").hidden = false);
    this.look();
    try {
      const image = await upload(this.files.image, signal), reference = this.files.reference && await upload(this.files.reference, signal);
      let size;
      for (const name of models) {
        this.say(`${name}…`);
        const row = this.find("rows").appendChild(make("tr", {}, make("th", { scope: "row" }, name)));
        const cell = (text, attributes = { class: "number" }) => row.appendChild(make("td", attributes, text ?? "–"));
        try {
          const { result, seconds } = await upscale(image.id, { model: name, scale: Number.isFinite(scale) ? scale : null }, signal, (event) => { if (event.progress) this.say(`${name}: ${Math.round(100 * event.progress)}%`); });
          cell(`${result.width}×${result.height}`);
          cell(seconds < 0.1 ? seconds.toFixed(3) : seconds.toFixed(1));
          size ??= [result.width, result.height];
          const own = layersOf(image, result, `model ${name}`, generates(name));
          Object.assign(layers, { nearest: own.nearest, lanczos: layers.lanczos ?? own.lanczos, [`model ${name}`]: own.result });
          let score = {};
          if (reference) try { score = await json("measure", { ...post({ result: result.id, reference: reference.id }), signal }); } catch (error) { if (lost(error) || error.name === "AbortError") throw error; score = { note: `${error.message}.` }; }
          if (score.note) notes.add(score.note);
          scores.push(score);
          if (score.psnr === null) score.psnr = Infinity; // which JSON can't hold
          score.cells = [["psnr", 2], ["ssim", 4], ["identity", 3]].map(([metric, digits]) => cell(score[metric] === Infinity ? "∞" : score[metric]?.toFixed(digits)));
          cell(make("a", { href: at(`images/${result.id}/file`), download: result.name, "aria-label": `Download ${name}’s ${result.name}` }, "Download"), {});
        } catch (error) {
          if (lost(error) || error.name === "AbortError") throw error;
          cell(error.message, { colspan: 6, class: "error" });
        }
      }
      ["psnr", "ssim", "identity"].forEach((metric, n) => {
        const best = (metric === "identity" ? Math.min : Math.max)(...scores.map((score) => score[metric]));
        for (const score of scores) if (scores.length > 1 && score[metric] === best) score.cells[n].classList.add("best");
      });
      if (scores.some((score) => score.psnr)) notes.add("PSNR and SSIM: higher is nearer to the original. The best of a column is bold.");
      if (reference) layers.reference = { label: "the original", src: at(`images/${reference.id}`) };
      const shown = Object.keys(layers).filter((key) => key.startsWith("model "));
      if (size) this.viewer.show(size, layers, "lanczos", shown.find((key) => layers[key].guess) ?? shown[0]);
      this.say("Done.");
    } catch (error) { this.say(error.name === "AbortError" ? "Cancelled." : lost(error) ? dead : error.message); }
    this.find("notes").textContent = [...notes].join(" ");
    this.find("cancel").disabled = true;
    this.find("run").disabled = !this.files.image;
  }
}

// The panels Train and Report: one of a list, looked at again as time goes by.
class Listed {
  constructor(root) {
    [this.kind, this.root] = [root.dataset.srkit, root];
    for (const name of ["choice", "shown", "empty"]) this[name] = root.querySelector(`[data-${name}]`);
    this.choice.addEventListener("change", () => this.look());
    new IntersectionObserver(() => this.look()).observe(root); // its tab is chosen
    setInterval(() => this.look(), 3000);
  }
  forget() { this.look(); }
  async look() {
    if (!this.root.offsetParent) return; // another tab is
    try {
      const { names } = await json(`listed/${this.kind}`), known = JSON.stringify(names), kept = this.choice.value;
      if (known !== this.known) {
        this.choice.replaceChildren(...names.map(([key, name]) => make("option", { value: key }, name)));
        if (names.some(([key]) => key === kept)) this.choice.value = kept;
        this.known = known;
      }
      this.empty.hidden = names.length > 0;
      const key = this.choice.value, html = !key ? "" : this.kind === "runs" ? (await json(`runs/${key}`)).html : key;
      if (html === this.html) return;
      this.html = html;
      if (this.kind === "runs") this.shown.innerHTML = html; // the server has escaped what isn't its own
      else this.shown.replaceChildren(...(key ? [make("iframe", { class: "srkit-report", title: `Report ${this.choice.selectedOptions[0].text}`, src: at(`reports/${key}`), sandbox: true })] : []));
    } catch (error) { if (!lost(error)) this.shown.textContent = error.message; }
  }
}

// The curves of a run, which the server sends as records of its log.
function charts(place) {
  const curves = {};
  const add = (title, name, step, value) => { if (Number.isFinite(value)) ((curves[title] ??= {})[name] ??= []).push([step, value]); };
  const records = JSON.parse(place.dataset.log);
  for (const { step, losses, validation, images_per_second: speed, learning_rate: rate } of records) {
    for (const kind of ["", "bicubic_"]) for (const [name, value] of Object.entries(validation ?? {})) {
      const metric = name.replace("bicubic_", "");
      if (name === kind + metric) add(`Validation, ${metric.toUpperCase()}`, kind ? "bicubic" : "this run", step, value);
    }
    for (const [name, value] of Object.entries(losses ?? {})) if (name !== "loss" || Object.keys(losses).length > 2) add(name === "loss" ? "Loss, sum" : `Loss ${name}`, "", step, value);
    add("Images/s", "", step, speed);
    add("Learning rate", "", step, rate);
  }
  const svg = (tag, attributes, text = "") => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v); e.append(text); return e; };
  const short = (value) => (value && Math.abs(value) < 1e-3 ? value.toExponential(1) : +value.toPrecision(4)).toLocaleString("en");
  place.replaceChildren(...Object.entries(curves).map(([title, lines]) => {
    const every = Object.values(lines).flat(), last = Math.max(...every.map((p) => p[0])) || 1;
    const low = Math.min(...every.map((p) => p[1])), high = Math.max(...every.map((p) => p[1]));
    const [x, y] = [(step) => 58 + (264 * step) / last, (value) => 8 + (130 * (high - value)) / (high - low || 1)];
    const marks = Object.keys(lines).length > 1 ? ["━ ", "┅ "] : [""];
    const now = Object.entries(lines).map(([name, points], n) => `${marks[n]}${name && `${name} `}${short(points.at(-1)[1])}`).join(" ");
    const drawing = svg("svg", { viewBox: "0 0 330 160", role: "img", "aria-label": `${title}: a curve that began at ${short(every[0][1])}` });
    drawing.append(svg("rect", { class: "frame", x: 58, y: 4, width: 268, height: 138 }));
    for (const [value, place] of [[high, 13], [low, 141]]) drawing.append(svg("text", { x: 53, y: place, "text-anchor": "end" }, short(value)));
    for (const [value, place, anchor] of [["0", 58, "start"], [`step ${last.toLocaleString("en")}`, 326, "end"]]) drawing.append(svg("text", { x: place, y: 156, "text-anchor": anchor }, value));
    Object.values(lines).forEach((points, n) => drawing.append(svg("polyline", { class: `c${n % 2}`, points: (points.length > 1 ? points : [[0, points[0][1]], ...points]).map((p) => `${x(p[0])},${y(p[1])}`).join(" ") })));
    return make("figure", {}, make("figcaption", {}, make("b", {}, `${title}:`), ` ${now}`), drawing);
  }));
  place.removeAttribute("data-log");
}

const panels = [];
// See whether the server is still the one that has our images.
async function look() {
  const sign = document.querySelector(".srkit-dead"), tell = (text) => { if (sign.textContent !== text) sign.textContent = text; };
  const now = await json("about?brief=true").catch((error) => { if (lost(error)) tell(dead); throw error; });
  tell("");
  if (start && now.start !== start) { start = now.start; for (const panel of panels) panel.forget(); }
  start = now.start;
}
function begin() {
  document.querySelectorAll("[data-log]").forEach(charts);
  for (const root of document.querySelectorAll("[data-srkit]:not([data-begun])")) {
    root.dataset.begun = "1";
    panels.push(new { upscale: Upscale, compare: Compare, runs: Listed, reports: Listed }[root.dataset.srkit](root));
  }
}
about = await json("about");
start = about.start;
new MutationObserver(begin).observe(document.body, { childList: true, subtree: true });
begin();
addEventListener("keydown", (e) => { // gradio's tabs don't take arrows, as tabs do elsewhere
  const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key], tab = e.target.closest?.("[role=tab]");
  if (!step || !tab) return;
  const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]")].filter((t) => t.offsetParent);
  const next = tabs.at((tabs.indexOf(tab) + step) % tabs.length);
  e.preventDefault();
  next.click();
  next.focus();
});
for (const kind of ["dragover", "drop"]) addEventListener(kind, (e) => e.preventDefault()); // a missed drop doesn't leave the page
setInterval(() => look().catch(() => {}), 4000);
