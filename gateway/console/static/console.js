// Keeps the console true: follows the gateway's live feed, fetches the parts of the page that
// changed, and says so loudly when it can no longer hear the gateway.

const SILENCE_MS = 12_000; // The gateway beats every 5 s: two beats missed.
const ALARMS_REST_MS = 300; // A burst of presses is shown at once, then a few times a second.
const DEVICES_REST_MS = 1_500;
const SAFETY_MS = 30_000; // What no event tells (last seen, a reloaded inventory).
const ANSWER_MS = 15_000;
const RETRY_MS = 3_000;

const main = document.querySelector("main.console");
const indicator = document.getElementById("live");
const lost = document.getElementById("lost");
const lastHeard = document.getElementById("last-heard");
const clock = document.getElementById("clock");

let heardAt = -Infinity;
let heardText = clock.textContent;
let listenedAt = -Infinity;
let ahead = 0; // The gateway's clock less ours, in ms: phones are often minutes off.
let source = null;

// --- parts of the page -------------------------------------------------------------------------

const told = new WeakMap(); // What the gateway last said of an element, apart from what we changed.

const remember = (element) => {
  told.set(element, element.outerHTML);
  if ("keyed" in element.dataset) for (const child of element.children) remember(child);
};

// Makes `shown` say what `fresh` says. Children of a keyed element are told apart by id, and one
// that says the same stays as it is: what somebody types or has opened is not taken away.
function adopt(shown, fresh, changed) {
  if (!("keyed" in fresh.dataset)) {
    if (told.get(shown) === fresh.outerHTML) return shown;
    remember(fresh);
    keepWork(shown, fresh);
    shown.replaceWith(fresh);
    changed.push(fresh);
    return fresh;
  }
  Object.assign(shown.dataset, fresh.dataset);
  const before = new Map([...shown.children].map((child) => [child.id, child]));
  let place = shown.firstElementChild;
  for (const next of [...fresh.children]) {
    const known = before.get(next.id);
    before.delete(next.id);
    if (known) {
      if (known === place) place = known.nextElementSibling;
      const child = adopt(known, next, changed);
      if (child.nextElementSibling !== place) shown.insertBefore(child, place);
    } else {
      remember(next);
      shown.insertBefore(next, place);
      changed.push(next);
    }
  }
  for (const gone of before.values()) gone.remove();
  return shown;
}

function keepWork(from, to) {
  for (const field of from.querySelectorAll("form[data-command] input")) {
    if (field.value === field.defaultValue) continue;
    const command = field.form.dataset.command;
    const twin = to.querySelector(`form[data-command="${CSS.escape(command)}"] input[name="${field.name}"]`);
    if (twin) twin.value = field.value;
  }
  const opened = from.querySelector("details");
  const open = to.querySelector("details");
  if (opened && open) open.open = opened.open;
}

async function refresh(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS) });
  if (answer.status === 401) return leave();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  const part = document.createElement("template");
  part.innerHTML = await answer.text();
  const busy = document.activeElement;
  const changed = [];
  for (const fresh of [...part.content.children]) {
    adopt(document.getElementById(fresh.id), fresh, changed);
  }
  keepFocus(busy);
  for (const element of changed) {
    if (element.matches(".alarm.panic.unacknowledged")) element.classList.add("new");
  }
  document.title = document.getElementById("alarms").dataset.title;
  tellAges();
}

// An element that was replaced or moved under the cursor lost it.
function keepFocus(busy) {
  const key = busy?.form?.dataset.command;
  if (!key || document.activeElement === busy) return;
  const twin = document.querySelector(`form[data-command="${CSS.escape(key)}"] [name="${busy.name}"]`);
  (twin ?? busy).focus({ preventScroll: true });
}

// One part of the page: fetched soon after it is asked for, at most once in `rest` ms, never twice
// at a time. `fresh` once it shows what the gateway said after the stream began.
class Part {
  fresh = false;
  #asked = false;
  #waiting = null;

  constructor(path, rest, delay) {
    Object.assign(this, { path, rest, delay });
  }

  ask() {
    this.#asked = true;
    this.#waiting ??= setTimeout(() => this.#fetch(), this.delay);
  }

  async #fetch() {
    this.#asked = false;
    let rest = this.rest;
    try {
      await refresh(this.path());
      this.fresh = true;
    } catch {
      this.fresh = false;
      this.#asked = true;
      rest = RETRY_MS;
    }
    judge();
    this.#waiting = setTimeout(() => {
      this.#waiting = null;
      if (this.#asked) this.ask();
    }, rest);
  }
}

const alarms = new Part(() => "/parts/alarms", ALARMS_REST_MS, 0);
// The gateway counts its devices at most four times a second.
const devices = new Part(() => `/parts/devices${location.search}`, DEVICES_REST_MS, 300);

function refreshAll() {
  alarms.ask();
  devices.ask();
}

// --- the live feed -----------------------------------------------------------------------------

function listen() {
  source?.close();
  listenedAt = performance.now();
  source = new EventSource("/api/v1/live");
  const hear = (name, then) => source.addEventListener(name, (event) => {
    heardAt = performance.now();
    heardText = clock.textContent;
    then(event);
    judge();
  });
  hear("open", refreshAll);
  hear("alarm", () => alarms.ask());
  hear("device", () => devices.ask());
  hear("resync", refreshAll);
  hear("beat", (event) => { ahead = Date.parse(JSON.parse(event.data).now) - Date.now(); });
  source.addEventListener("error", () => {
    heardAt = -Infinity;
    judge();
    if (source.readyState === EventSource.CLOSED) setTimeout(again, RETRY_MS);
  });
}

// The gateway refused the stream: either the sign-in is over, or it is not (yet) able to serve.
async function again() {
  try {
    const answer = await fetch("/parts/alarms", { signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status === 401) return leave();
  } catch {
    // Not reachable: listening again will tell.
  }
  listen();
}

// The page is live while we hear the gateway and what is shown came after we began to listen.
function judge() {
  const hears = performance.now() - heardAt < SILENCE_MS;
  if (!hears) alarms.fresh = devices.fresh = false;
  if (hears && alarms.fresh && devices.fresh) say("live");
  else if (indicator.dataset.state === "live" || performance.now() > SILENCE_MS) say("lost");
}

function say(state) {
  if (indicator.dataset.state === state) return;
  if (state === "lost") lastHeard.textContent = heardText;
  indicator.dataset.state = state;
  lost.hidden = state !== "lost";
  document.documentElement.classList.toggle("stale", state === "lost");
}

function leave() {
  source?.close();
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

// --- time --------------------------------------------------------------------------------------

function inWords(seconds) {
  // Not Intl.RelativeTimeFormat: browsers come without Kazakh.
  const say = (text, number) => text.replace("{n}", Math.max(0, Math.floor(number)));
  if (seconds < 60) return say(main.dataset.seconds, seconds);
  if (seconds < 3_600) return say(main.dataset.minutes, seconds / 60);
  if (seconds < 86_400) return say(main.dataset.hours, seconds / 3_600);
  return say(main.dataset.days, seconds / 86_400);
}

function tellAges() {
  const now = Date.now() + ahead;
  for (const element of document.querySelectorAll("[data-ago]")) {
    const words = inWords((now - Date.parse(element.dataset.ago)) / 1_000);
    if (element.textContent !== words) element.textContent = words;
  }
}

const timeOfDay = new Intl.DateTimeFormat("en-GB", {
  timeZone: clock.title, hour: "2-digit", minute: "2-digit", second: "2-digit",
});

setInterval(() => {
  clock.textContent = timeOfDay.format(Date.now() + ahead);
  // A connection can be dead and not know it.
  if (performance.now() - Math.max(heardAt, listenedAt) > SILENCE_MS) listen();
  judge();
  tellAges();
}, 1_000);

// --- what people do ----------------------------------------------------------------------------

async function command(form) {
  const fields = Object.fromEntries(new FormData(form));
  if ("minutes" in fields) fields.minutes = Number(fields.minutes);
  const failed = form.querySelector(".failed");
  const button = form.querySelector("button");
  button.disabled = true;
  failed.hidden = true;
  try {
    const answer = await fetch(form.dataset.command, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(fields),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (answer.status === 401) return leave();
    if (!answer.ok) {
      const problem = await answer.json();
      failed.textContent = `${main.dataset.refused} ${problem.detail || problem.title}`;
      failed.hidden = false;
    } else {
      form.reset();
    }
  } catch {
    failed.textContent = main.dataset.unconfirmed;
    failed.hidden = false;
  } finally {
    button.disabled = false;
  }
  refreshAll();
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.command) return;
  event.preventDefault();
  command(event.target);
});

document.addEventListener("change", (event) => {
  if (event.target.matches(".filter select")) event.target.form.requestSubmit();
});

for (const id of ["alarms", "counts", "devices"]) remember(document.getElementById(id));
tellAges();
setInterval(refreshAll, SAFETY_MS);
listen();
