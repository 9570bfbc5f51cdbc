// dom.js makes elements from data (text is never parsed as markup), and owns the clipboard and topic colours.

/** Creates an element with attributes; `null` and `false` leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
}

// Characters that show nothing or reorder the text around them; the joiners of scripts and emoji are not among them.
const HIDDEN = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/gu;

/** Returns a name with its hidden characters as escapes, so that no name looks like another. */
export function visible(name) {
  return String(name).replace(HIDDEN, (hidden) => `\\u{${hidden.codePointAt(0).toString(16)}}`);
}

export const byId = (id) => document.getElementById(id);

/** Writes only a text that has changed, so that an idle page causes no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Copies text and shows the result on the button for a moment. */
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

/** Creates a copy button; `text` is a function, so that the button copies the current text. */
export function copyButton(label, text) {
  const button = el('button', { type: 'button', class: 'copy', 'aria-label': label, title: label });
  button.addEventListener('click', () => copyFrom(button, text()));
  return button;
}

// Hues that are easy to distinguish and not close to the red of a gap.
const HUES = [190, 285, 120, 320, 225, 155, 255, 90];
const HUES_APART = 45; // degrees, as long as there are few topics
const HUES_KEPT = 64; // a pattern may bring any number of topics
const hues = new Map();

/** Returns the hue of a topic: derived from its name, or the next hue if another topic's hue is too close. */
export function hueOf(topic) {
  if (!hues.has(topic)) {
    const taken = [...hues.values()];
    const start = hash(topic) % HUES.length;
    if (hues.size >= HUES_KEPT) return HUES[start];
    const wanted = [...HUES.slice(start), ...HUES.slice(0, start)];
    const far = (hue) => taken.every((other) => Math.abs(hue - other) >= HUES_APART);
    const free = (hue) => !taken.includes(hue);
    hues.set(topic, wanted.find(far) ?? wanted.find(free) ?? wanted[0]);
  }
  return hues.get(topic);
}

/** Assigns colours anew, so that a link gives the same colours in every page. */
export function assignHues(topics) {
  hues.clear();
  for (const topic of topics) hueOf(topic);
}

/** Gives an element the colour of its topic; console.css turns `--hue` into `--tone`. */
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
