// timeline.js owns the list of events, newest first. It updates once a frame, and bounds rows and bytes.

import { copyButton, el, tint, visible } from './dom.js';
import { pretty } from './pretty.js';

export const ROWS_MAX = 500;
const ROWS_CHARS_MAX = 8_000_000; // data in all rows, in UTF-16 units
const WAITING_MAX = ROWS_MAX;
const WAITING_CHARS_MAX = 8_000_000;
const PREVIEW_CHARS = 400;
const FRESH_MAX = 4; // a larger batch appears without the highlight
const REST_MS = 70; // pause between large batches: no user reads faster, and painting is expensive

const OUTCOMES = {
  live: 'new subscription',
  exact: 'resumed, no event missed',
  gap: 'resumed, but events are missing',
  reset: 'the log was reset',
  rewound: 'the log lost its newest events',
  invalid: 'the cursor could not be parsed',
};
const GAPS = {
  trimmed: 'older than the history of the log',
  reset: 'the log was reset',
  rewound: 'the log lost its newest events in a fail-over',
  invalid: 'the cursor could not be parsed',
};
const RECONNECTS = {
  drain: 'its node is draining',
  max_age: 'it reached its maximum age',
  token_expired: 'its token expired',
  overload: 'the node is overloaded',
};

/** Explains the outcome of a ready event. */
export function outcomeInWords(outcome) {
  return OUTCOMES[outcome] ?? '';
}

/** Explains a gap event. */
export function gapInWords({ topic, reason, missed, missed_at_most: most }) {
  const count = (number) => `${number.toLocaleString('en')} ${number === 1 ? 'event' : 'events'}`;
  const many = Number.isInteger(missed) ? count(missed)
    : Number.isInteger(most) ? `At most ${count(most)}` : 'An unknown number of events';
  return `${many} missed in ${visible(topic ?? 'this subscription')}: ${GAPS[reason] ?? reason}`;
}

/** The list. Entries are `{event, id}` or `{control, data, at}`. */
export class Timeline {
  #list;
  #onChange;
  #waiting = []; // oldest first
  #waitingChars = 0;
  #waitingEvents = 0;
  #skipped = 0; // events that `#waiting` dropped since the last flush
  #rowChars = 0;
  #restUntil = 0;
  #frame = null;
  #gap = null; // row of the newest gap, which stays visible at the foot of the list
  #entries = new WeakMap(); // row -> entry
  paused = false;

  constructor(list, onChange) {
    this.#list = list;
    this.#onChange = onChange;
    list.addEventListener('click', (click) => {
      const head = click.target.closest('.event-head');
      if (head) this.#toggle(head.parentElement);
    });
    list.addEventListener('keydown', (key) => this.#onKey(key));
  }

  get waiting() {
    return this.#waitingEvents;
  }

  get rows() {
    return this.#list.childElementCount;
  }

  add(entry) {
    this.#waiting.push(entry);
    this.#waitingChars += size(entry);
    if (entry.event) this.#waitingEvents += 1;
    if (this.#waiting.length > 2 * WAITING_MAX || this.#waitingChars > WAITING_CHARS_MAX) this.#thin();
    if (!this.paused) this.#schedule();
  }

  pause(paused) {
    this.paused = paused;
    if (!paused) this.#schedule();
    this.#onChange();
  }

  clear() {
    this.#list.replaceChildren();
    this.#gap = null;
    this.#rowChars = 0;
    this.#forget();
    this.#onChange();
  }

  #forget() {
    this.#waiting = [];
    this.#waitingChars = 0;
    this.#waitingEvents = 0;
    this.#skipped = 0;
  }

  // Keeps the newest entries and all recent gaps, so that no gap disappears without a trace.
  #thin() {
    let chars = 0;
    let kept = 0;
    const newest = this.#waiting.toReversed().filter((entry) => {
      if (entry.control === 'gap') return true;
      chars += size(entry);
      kept += 1;
      return kept === 1 || (kept <= WAITING_MAX && chars <= WAITING_CHARS_MAX / 2);
    });
    this.#skipped += this.#waiting.filter((entry) => entry.event).length - newest.filter((entry) => entry.event).length;
    this.#waiting = newest.slice(0, 2 * WAITING_MAX - 1).toReversed();
    this.#waitingChars = this.#waiting.reduce((sum, entry) => sum + size(entry), 0);
  }

  #schedule() {
    this.#frame ??= requestAnimationFrame((now) => {
      this.#frame = null;
      if (this.paused) return;
      if (now < this.#restUntil) this.#schedule();
      else this.#flush(now);
    });
  }

  #flush(now) {
    if (this.#waiting.length === 0) return;
    const entries = this.#waiting.slice(-ROWS_MAX);
    const skipped = this.#skipped + this.#waiting.slice(0, -ROWS_MAX).filter((entry) => entry.event).length;
    this.#forget();

    const fresh = entries.length <= FRESH_MAX;
    this.#restUntil = fresh ? 0 : now + REST_MS;
    const rows = document.createDocumentFragment();
    for (const entry of entries.toReversed()) {
      const row = entry.event ? eventRow(entry) : controlRow(entry);
      if (fresh) row.classList.add('fresh');
      this.#entries.set(row, entry);
      this.#rowChars += size(entry);
      rows.append(row);
    }
    if (skipped > 0) rows.append(controlRow({ control: 'skipped', data: { skipped }, at: Date.now() }));
    const gap = rows.querySelector('.gap');
    if (gap !== null) {
      this.#gap?.classList.remove('pinned');
      gap.classList.add('pinned');
      this.#gap = gap;
    }
    this.#list.prepend(rows);
    this.#trim();
    this.#onChange();
  }

  #trim() {
    const list = this.#list;
    while (list.childElementCount > ROWS_MAX || (this.#rowChars > ROWS_CHARS_MAX && list.childElementCount > 1)) {
      const row = list.lastElementChild;
      if (row.contains(document.activeElement)) list.focus({ preventScroll: true });
      this.#rowChars -= size(this.#entries.get(row));
      row.remove();
    }
  }

  #toggle(row) {
    const head = row.querySelector('.event-head');
    const open = head.getAttribute('aria-expanded') !== 'true';
    head.setAttribute('aria-expanded', String(open));
    if (open) row.append(eventBody(this.#entries.get(row)));
    else row.querySelector('.event-body').remove();
  }

  // The whole list is one tab stop; the arrow keys move inside it.
  #onKey(key) {
    const heads = () => [...this.#list.querySelectorAll('.event-head')];
    const row = document.activeElement.closest?.('.event');
    const step = { ArrowDown: 1, ArrowUp: -1 }[key.key];
    if (step !== undefined && !key.altKey && !key.ctrlKey && !key.metaKey) {
      const all = heads();
      const at = row ? all.indexOf(row.querySelector('.event-head')) + step : 0;
      (all[at] ?? (at < 0 ? this.#list : undefined))?.focus();
      key.preventDefault();
    } else if (key.key === 'Home' || key.key === 'End') {
      heads().at(key.key === 'Home' ? 0 : -1)?.focus();
      key.preventDefault();
    }
  }
}

function size(entry) {
  return entry?.event ? entry.event.data.length : 0;
}

function eventRow({ event, id }) {
  const line = el('span', { class: 'line' });
  const topic = visible(event.topic);
  if (event.type !== null && event.type !== undefined) line.append(el('span', { class: 'type' }, visible(event.type)));
  const preview = event.data.slice(0, PREVIEW_CHARS).replace(/\s+/g, ' ').trim();
  line.append(el('span', { class: preview === '' ? 'preview empty' : 'preview' }, preview === '' ? 'no data' : preview));
  const head = el('button', { type: 'button', class: 'event-head', 'aria-expanded': 'false', tabindex: '-1' },
    el('time', { class: 'when', datetime: event.time, title: event.time }, clock(event.time)),
    tint(el('span', { class: 'topic', title: topic }, topic), event.topic),
    line);
  return el('li', { class: 'event', 'data-id': event.id ?? id, 'data-topic': event.topic }, head);
}

function eventBody({ event, id }) {
  const own = event.id ?? id;
  return el('div', { class: 'event-body' },
    el('pre', { tabindex: '0', 'aria-label': 'Data' }, pretty(event.data)),
    el('p', { class: 'event-meta' },
      el('span', {}, 'id ', el('code', {}, own), copyButton('Copy this id', () => own)),
      el('span', {}, event.time ?? ''),
      el('span', {}, `${new TextEncoder().encode(event.data).length.toLocaleString('en')} bytes`,
        copyButton('Copy the data', () => event.data))));
}

function controlRow({ control, data, at }) {
  const row = el('li', { class: `control ${control}` }, el('time', { class: 'when' }, clock(at)));
  const say = (...words) => row.append(el('span', { class: 'words' }, ...words));
  const strong = (text) => el('strong', {}, text);
  if (control === 'ready') {
    row.dataset.outcome = data.outcome;
    say('Connected to ', strong(visible(data.node ?? 'the gateway')));
    row.append(el('span', { class: 'outcome', 'data-outcome': data.outcome }, data.outcome ?? ''),
      el('span', { class: 'aside' }, outcomeInWords(data.outcome)));
  } else if (control === 'gap') {
    row.dataset.reason = data.reason;
    row.dataset.missed = data.missed ?? '';
    row.append(el('span', { class: 'badge' }, 'Gap'));
    say(gapInWords(data));
    row.append(el('span', { class: 'aside' }, data.reason ?? ''));
  } else if (control === 'reconnect') {
    row.dataset.reason = data.reason;
    say('The gateway asks this client to reconnect: ', strong(RECONNECTS[data.reason] ?? data.reason ?? ''));
  } else if (control === 'end') {
    say(strong(visible(data.topic ?? 'The topic')), ' has ended; no event will follow');
  } else if (control === 'lost') {
    say('Connection lost, resuming after the last event');
  } else if (control === 'skipped') {
    say(`${data.skipped.toLocaleString('en')} more events arrived here and are hidden`);
  }
  return row;
}

function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '';
  const two = (value) => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
    + `.${String(date.getMilliseconds()).padStart(3, '0')}`;
}
