"use strict";

/* Sends the forms without leaving the page, and keeps the list of jobs as the server tells it. */

const list = document.querySelector(".jobs");
const live = document.querySelector("[data-live]");
const empty = document.querySelector(".empty");
const periodic = document.querySelector(".periodic");
const template = document.querySelector("#job");
const UNITS = ["bytes", "kB", "MB", "GB"];

let timer = 0;

function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) { bytes /= 1000; unit += 1; }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

function span(seconds) {
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(seconds < 0.95 ? 2 : 1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function time(job, now) {
  if (job.seconds !== undefined) return `${job.attempts > 1 ? `${job.attempts} starts · ` : ""}${span(job.seconds)}`;
  if (job.tone === "scheduled") return `in ${span(job.due - now)}`;
  return job.tone === "failed" ? "" : span(now - Math.max(job.created, job.due || 0));
}

function note(job) {
  if (job.tone === "retrying") return `${job.note} · asking again soon`;
  return job.tone === "done" && !job.files.length ? `${job.note} · ${size(job.bytes)}` : job.note || { waiting: "Waiting for a worker", scheduled: "Will be sent when it is due" }[job.tone] || "";
}

function fileItem(file) {
  const item = document.createElement("li");
  const link = item.appendChild(document.createElement("a"));
  link.href = file.url;
  if (file.name.startsWith("photo-square")) {
    item.className = "thumb";
    const image = link.appendChild(document.createElement("img"));
    image.src = file.url;
    image.alt = "The photograph, cut to a square";
    return item;
  }
  if (!/\.(webp|jpg|pdf)$/.test(file.name)) link.href += "?save";
  link.append(`${file.name} `);
  const detail = link.appendChild(document.createElement("small"));
  detail.textContent = `${file.detail} · ${size(file.bytes)}`;
  return item;
}

function show(job, now) {
  let card = document.getElementById(`job-${job.id}`);
  if (!card) {
    card = template.content.firstElementChild.cloneNode(true);
    card.id = `job-${job.id}`;
    card.dataset.kind = job.kind;
  }
  card.dataset.tone = job.tone;
  put(card.querySelector("h3"), job.title);
  put(card.querySelector(".note"), note(job));
  put(card.querySelector(".tone"), job.tone);
  put(card.querySelector(".time"), time(job, now));
  const bar = card.querySelector("progress");
  bar.hidden = job.tone !== "working";
  bar.setAttribute("aria-label", `Progress of ${job.title}`);
  if (job.progress === undefined) bar.removeAttribute("value"); else bar.value = job.progress;
  const files = card.querySelector(".files");
  if (files.childElementCount !== job.files.length) files.replaceChildren(...job.files.map(fileItem));
  files.hidden = !job.files.length;
  return card;
}

function cells(...texts) {
  const row = document.createElement("tr");
  for (const text of texts) row.appendChild(document.createElement("td")).textContent = text;
  return row;
}

function showPeriodic(schedules, digest, now) {
  periodic.hidden = !schedules.length;
  const next = (schedule) => schedule.paused ? "paused" : schedule.next ? `in ${span(schedule.next - now)}` : "none";
  periodic.querySelector("tbody").replaceChildren(...schedules.map((schedule) =>
    cells(schedule.name, schedule.last ? `${span(now - schedule.last)} ago` : "not yet", next(schedule))));
  put(periodic.querySelector("[data-digest]"), digest
    ? `Last digest: ${digest.people} sign-ups and ${digest.jobs} orders in five minutes.`
    : "No digest has been written yet.");
}

function render({ jobs, schedules, digest, now }) {
  showPeriodic(schedules, digest, now);
  const cards = jobs.map((job) => show(job, now));
  // Cards are moved only when the order changed: moving them would take the focus away and restart their animation.
  if (cards.length !== list.childElementCount || cards.some((card, place) => list.children[place] !== card)) list.replaceChildren(...cards);
  empty.hidden = jobs.length > 0;
  const count = (...tones) => jobs.filter((job) => tones.includes(job.tone)).length;
  for (const box of document.querySelectorAll("[data-count]")) {
    put(box.querySelector("dd"), String(count(box.dataset.count, box.dataset.count === "waiting" ? "scheduled" : "")));
  }
  const busy = count("waiting", "working", "retrying");
  const failed = count("failed");
  live.classList.remove("lost");
  put(live, `${busy ? `${busy} under way` : "All quiet"}${failed ? `, ${failed} failed` : ""}`);
  return busy || count("scheduled");
}

async function poll() {
  clearTimeout(timer);
  let pause = 3000;
  try {
    const answer = await fetch(list.dataset.status, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.statusText);
    if (render(await answer.json())) pause = 350;
  } catch {
    live.classList.add("lost");
    put(live, "The site does not answer; trying again");
  }
  if (!document.hidden) timer = setTimeout(poll, pause);
}

async function send(event) {
  event.preventDefault();
  const form = event.target;
  const [button, said] = [form.querySelector("button"), form.querySelector("output")];
  button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
    const told = await answer.json();
    said.classList.toggle("refused", !answer.ok);
    said.textContent = answer.ok ? "Ordered" : told.error;
    if (answer.ok) form.reset();
  } catch {
    said.classList.add("refused");
    said.textContent = "The site does not answer. Please try again.";
  }
  button.disabled = false;
  poll();
}

for (const form of document.querySelectorAll("[data-order]")) {
  form.addEventListener("submit", send);
  form.addEventListener("reset", () => setTimeout(() => form.querySelector("[type=file]")?.dispatchEvent(new Event("change"))));
}

for (const drop of document.querySelectorAll(".drop")) {
  const [input, label] = [drop.querySelector("input"), drop.querySelector("span")];
  input.addEventListener("change", () => {
    const file = input.files[0];
    label.textContent = file ? `${file.name} · ${size(file.size)}` : label.dataset.chosen;
  });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change"));
  });
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
poll();
