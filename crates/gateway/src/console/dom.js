// dom.js owns making elements from data (text stays text, never markup), the clipboard and topic colours.

/** An element with attributes; `null` and `false` leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Writes only when something changed, so that an idle page causes no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Copies text and says so on the button for a moment. */
export async function copyFrom(button, text) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copied = copyBySelection(text); // no clipboard API on plain http
  }
  button.dataset.copied = copied ? 'yes' : 'no';
  setTimeout(() => delete button.dataset.copied, 1200);
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const area = el('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  focused?.focus();
  return copied;
}

/** A copy button; `text` is a function, so that it copies what is true when pressed. */
export function copyButton(label, text) {
  const button = el('button', { type: 'button', class: 'copy', 'aria-label': label, title: label });
  button.addEventListener('click', () => copyFrom(button, text()));
  return button;
}

// Hues that can be told apart, none of them near the red of a gap.
const HUES = [190, 285, 120, 320, 225, 155, 255, 90];
const HUES_APART = 45; // degrees, while there are few topics
const hues = new Map();

/** The hue of a topic: from its name, moved on only when another topic of this page is too like it. */
export function hueOf(topic) {
  if (!hues.has(topic)) {
    const taken = [...hues.values()];
    const start = hash(topic) % HUES.length;
    const wanted = [...HUES.slice(start), ...HUES.slice(0, start)];
    const far = (hue) => taken.every((other) => Math.abs(hue - other) >= HUES_APART);
    const free = (hue) => !taken.includes(hue);
    hues.set(topic, wanted.find(far) ?? wanted.find(free) ?? wanted[0]);
  }
  return hues.get(topic);
}

/** Forgets colours, so that a link gives the same colours wherever it is opened. */
export function assignHues(topics) {
  hues.clear();
  for (const topic of topics) hueOf(topic);
}

/** Gives an element its topic's colour; console.css turns `--hue` into `--tone`. */
export function tint(element, topic) {
  element.classList.add('tinted');
  element.style.setProperty('--hue', hueOf(topic));
  return element;
}

function hash(text) {
  let value = 2166136261; // FNV-1a
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return value >>> 0;
}
