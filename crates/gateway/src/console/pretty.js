// pretty.js owns the display of an event's data: indented and coloured JSON, or plain text, both bounded.

import { el } from './dom.js';

const LEVELS_MAX = 32; // JSON below this level stays on its line, since each level would indent all below it
const SHOWN_CHARS_MAX = 262_144; // a longer text delays the page
const COLOURED_CHARS_MAX = 20_000; // longer JSON is shown in one colour

/** Indents and colours JSON, leaves other data unchanged, and says how much of a long text is left out. */
export function pretty(data) {
  const json = isJson(data);
  const { text, rest } = json ? indent(data) : cut(data);
  const out = document.createDocumentFragment();
  out.append(json && text.length <= COLOURED_CHARS_MAX ? coloured(text) : text);
  if (rest > 0) {
    out.append(el('span', { class: 'left-out' }, `\n${rest.toLocaleString('en')} more characters are not shown; copy the data to get all`));
  }
  return out;
}

function isJson(data) {
  try {
    JSON.parse(data);
    return true;
  } catch {
    return false; // not JSON, or too deep for this browser
  }
}

function cut(text) {
  return { text: text.slice(0, SHOWN_CHARS_MAX), rest: Math.max(0, text.length - SHOWN_CHARS_MAX) };
}

// Works on the text, not on the parsed value, so that a number too long for JavaScript keeps its digits.
// `rest` is the number of characters of `json` that are not in `text`.
function indent(json) {
  let text = '';
  let level = 0;
  let opened = false; // the last token opened an object or an array
  const line = (within) => (within <= LEVELS_MAX ? `\n${'  '.repeat(level)}` : '');
  for (const { 0: token, index } of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    const closes = token === '}' || token === ']';
    const within = level;
    if (closes) level -= 1;
    const start = opened !== closes ? line(within) : '';
    opened = token === '{' || token === '[';
    if (opened) level += 1;
    const room = SHOWN_CHARS_MAX - text.length - start.length;
    if (token.length > room) {
      const part = token.slice(0, Math.max(0, room));
      return { text: text + start + part, rest: json.length - index - part.length };
    }
    text += start + token;
    if (token === ':') text += ' ';
    if (token === ',') text += line(level) || ' ';
  }
  return { text, rest: 0 };
}

const TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;

function coloured(json) {
  const out = document.createDocumentFragment();
  let end = 0;
  for (const token of json.matchAll(TOKEN)) {
    const [text, string, colon] = token;
    out.append(json.slice(end, token.index));
    const kind = string === undefined ? 'literal' : colon === undefined ? 'string' : 'key';
    out.append(el('span', { class: `json-${kind}` }, string ?? text), colon ?? '');
    end = token.index + text.length;
  }
  out.append(json.slice(end));
  return out;
}
