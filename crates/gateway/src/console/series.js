// series.js owns the numbers in events: the known series, the shown series, and their charts.

import { el, setText, tint, visible } from './dom.js';
import { SeriesChart, number } from './chart.js';

const TOPICS_MAX = 64; // a pattern may bring any number
const SERIES_PER_TOPIC = 8;
const SHOWN_PER_TOPIC = 2; // picked by default
const SHOWN_AT_FIRST = 8;
const DATA_MAX = 16_384; // larger data is not searched for numbers

/** The numeric series of all topics: chips to pick them, and a small chart for each picked series. */
export class SeriesPanel {
  #chips;
  #charts;
  #hint;
  #topics = new Map(); // topic -> Map(field -> series)

  constructor({ chips, charts, hint }) {
    this.#chips = chips;
    this.#charts = charts;
    this.#hint = hint;
  }

  clear() {
    this.#topics.clear();
    this.#chips.querySelectorAll('.pick-group').forEach((group) => group.remove());
    this.#charts.replaceChildren();
    this.#hint.hidden = false;
  }

  add(event) {
    const fields = numbersIn(event.data);
    if (fields.length === 0) return;
    const at = Date.parse(event.time) || Date.now();
    if (!this.#topics.has(event.topic)) {
      if (this.#topics.size >= TOPICS_MAX) return;
      this.#topics.set(event.topic, new Map());
    }
    const known = this.#topics.get(event.topic);
    for (const [field, value] of fields) {
      if (!known.has(field)) {
        if (known.size >= SERIES_PER_TOPIC) continue;
        known.set(field, this.#create(event.topic, field, known.size));
      }
      known.get(field).chart.add(at, value);
    }
  }

  draw({ all = false } = {}) {
    for (const series of this.#all()) {
      if (!series.figure.hidden && (all || series.chart.dirty)) drawSeries(series);
    }
  }

  *#all() {
    for (const fields of this.#topics.values()) yield* fields.values();
  }

  #create(topic, field, position) {
    const shown = [...this.#all()].filter((series) => !series.figure.hidden).length;
    const picked = position < SHOWN_PER_TOPIC && shown < SHOWN_AT_FIRST;

    const canvas = el('canvas', { class: 'series-canvas', role: 'img' });
    const [last, range] = [el('strong', { class: 'series-last' }), el('span', { class: 'series-range' })];
    const label = `${visible(field)} of ${visible(topic)}`;
    const name = el('figcaption', { class: 'series-name', title: label },
      el('span', { class: 'series-field' }, visible(field)), el('span', { class: 'series-topic' }, visible(topic)));
    const figure = tint(el('figure', { class: 'series' }, name, last, canvas, range), topic);
    figure.hidden = !picked;

    const box = el('input', { type: 'checkbox', 'aria-label': label });
    box.checked = picked;
    const series = { label, figure, canvas, last, range, chart: new SeriesChart(canvas) };
    box.addEventListener('change', () => {
      figure.hidden = !box.checked;
      if (box.checked) drawSeries(series);
    });

    this.#hint.hidden = true;
    this.#group(topic).append(tint(el('label', { class: 'pick' }, box, el('span', {}, visible(field))), topic));
    this.#charts.append(figure);
    return series;
  }

  // Returns the list of chips of one topic, under its name.
  #group(topic) {
    const lists = this.#chips.querySelectorAll('.pick-list');
    const known = [...lists].find((list) => list.dataset.topic === topic);
    if (known) return known;
    const list = el('div', { class: 'pick-list', 'data-topic': topic });
    this.#chips.append(el('div', { class: 'pick-group' }, el('span', { class: 'pick-topic', title: visible(topic) }, visible(topic)), list));
    return list;
  }
}

function drawSeries({ label, canvas, last, range, chart }) {
  const summary = chart.summary();
  setText(last, number(summary.last));
  setText(range, `${number(summary.min)} to ${number(summary.max)} · ${span(summary.span)}`);
  canvas.setAttribute('aria-label', `${label}: last ${number(summary.last)}, `
    + `from ${number(summary.min)} to ${number(summary.max)}`);
  chart.draw();
}

function span(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

/** Returns `[field, value]` for a JSON number (field "value"), or for the numbers of a JSON object, one level deep. */
export function numbersIn(data) {
  if (data.length > DATA_MAX || !/^\s*[-\d{]/.test(data)) return [];
  let json;
  try {
    json = JSON.parse(data);
  } catch {
    return [];
  }
  if (Number.isFinite(json)) return [['value', json]];
  const found = [];
  for (const [key, value] of Object.entries(json ?? {})) {
    if (Number.isFinite(value)) found.push([key, value]);
    else if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      for (const [inner, nested] of Object.entries(value)) {
        if (Number.isFinite(nested)) found.push([`${key}.${inner}`, nested]);
      }
    }
    if (found.length >= SERIES_PER_TOPIC) break;
  }
  return found;
}
