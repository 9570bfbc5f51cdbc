// console.js owns the page: it connects the form, the subscription, the list and the charts.

import { assignHues, byId, copyButton, el, setText, tint, visible } from './dom.js';
import { Connection } from './connection.js';
import { RateChart, number } from './chart.js';
import { SeriesPanel } from './series.js';
import { TOPICS_MAX, fromQuery, names, toQuery, topicOf } from './subscription.js';
import { ROWS_MAX, Timeline, gapInWords, outcomeInWords } from './timeline.js';
import { enablePublishing } from './publish.js';
import { enableToken } from './token.js';

const REFRESH_MS = matchMedia('(prefers-reduced-motion: reduce)').matches ? 1000 : 250;
const STATE_WORDS = {
  idle: 'Not connected',
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  ended: 'Ended',
  refused: 'Refused',
};

const setting = (name) => document.querySelector(`meta[name="tailwater-${name}"]`).content;
const canPublish = setting('publish') === 'true';

const timeline = new Timeline(byId('events'), showList);
const rateChart = new RateChart(byId('rate-chart'));
const series = new SeriesPanel({ chips: byId('series-chips'), charts: byId('series-charts'), hint: byId('series-hint') });

let subscription = null; // the current subscription
let connection = null;
let draft = []; // the topics of the form
let facts = noFacts();

function noFacts() {
  return { events: 0, readies: 0, gaps: 0, missed: 0, lastId: '', liveSince: null, state: 'idle', handedOver: false };
}

// --- The subscription ---

function subscribe(next, { remember = true } = {}) {
  connection?.close();
  connection = null;
  subscription = next;
  facts = noFacts();
  assignHues(next?.topics ?? []);
  timeline.clear();
  rateChart.clear();
  series.clear();
  fillForm(next);
  setTrouble(null);
  setOutcome('');
  setText(byId('node'), '–');
  document.body.dataset.view = next === null ? 'welcome' : 'stream';
  byId('disconnect').hidden = next === null;
  if (remember && toQuery(next) !== location.pathname + location.search) history.pushState(null, '', toQuery(next));
  if (next === null) setState('idle', '');
  else connection = new Connection(next, observer);
  showSubmit();
  showFacts();
  showList();
}

const observer = {
  state: setState,
  trouble: setTrouble,
  cursor(id) {
    facts.lastId = id;
  },
  event(event, id) {
    facts.events += 1;
    rateChart.count();
    series.add(event);
    timeline.add({ event, id });
  },
  control(word, data) {
    if (word === 'ready') {
      facts.readies += 1;
      setText(byId('node'), visible(data.node ?? '–'));
      setOutcome(data.outcome ?? '');
    } else if (word === 'gap') {
      facts.gaps += 1;
      facts.missed += data.missed ?? 0;
      rateChart.mark('gap');
      byId('gap-alert').textContent = `Gap: ${gapInWords(data)}`;
    } else if (word === 'reconnect') {
      facts.handedOver = true;
      rateChart.mark('reconnect');
    }
    timeline.add({ control: word, data, at: Date.now() });
    showFacts();
  },
};

function setState(state, detail) {
  if (state === 'live') {
    facts.liveSince = Date.now();
    facts.handedOver = false;
  } else {
    if (facts.state === 'live' && state === 'reconnecting' && !facts.handedOver) {
      rateChart.mark('reconnect');
      timeline.add({ control: 'lost', data: {}, at: Date.now() });
    }
    facts.liveSince = null;
  }
  facts.state = state;
  byId('state').dataset.state = state === 'refused' ? 'ended' : state;
  byId('state').classList.toggle('refused', state === 'refused');
  byId('state').title = detail;
  setText(byId('state-word'), detail ? `${STATE_WORDS[state]}, ${detail}` : STATE_WORDS[state]);
  document.title = subscription === null ? 'Tailwater' : `${visible(subscription.topics.join(', '))} · ${STATE_WORDS[state]} · Tailwater`;
}

function setTrouble(message) {
  byId('trouble').hidden = message === null;
  setText(byId('trouble'), message ?? '');
}

function setOutcome(outcome) {
  const cell = byId('outcome');
  cell.dataset.outcome = outcome;
  cell.title = outcomeInWords(outcome);
  setText(cell, outcome || '–');
}

// --- The form ---

function fillForm(from) {
  if (from === null) return;
  draft = [...from.topics];
  byId('topics').value = '';
  byId('types').value = from.types.join(', ');
  const count = /^-(\d+)$/.exec(from.from)?.[1];
  if (count) byId('from-count').value = count;
  const choice = count ? 'last' : ['latest', 'earliest'].includes(from.from) ? from.from : 'other';
  byId('from-other').hidden = choice !== 'other';
  setText(byId('from-other-text'), choice === 'other' ? from.from : '');
  document.querySelector(`input[name="from"][value="${choice}"]`).checked = true;
  if (canPublish) byId('publish-topic').value = topicOf(from);
  showChips();
}

function readForm() {
  const choice = document.querySelector('input[name="from"]:checked').value;
  const count = Math.max(1, Number.parseInt(byId('from-count').value, 10) || 20);
  const from = { last: `-${count}`, other: byId('from-other-text').textContent }[choice] ?? choice;
  const topics = [...new Set([...draft, ...names(byId('topics').value)])].slice(0, TOPICS_MAX);
  return { topics, from, types: names(byId('types').value) };
}

function takeTyped() {
  draft = readForm().topics;
  byId('topics').value = '';
  showChips();
}

function showChips() {
  byId('chips').replaceChildren(...draft.map((topic) => {
    const remove = el('button', { type: 'button', class: 'remove', 'aria-label': `Remove ${visible(topic)}` });
    remove.addEventListener('click', () => {
      draft = draft.filter((name) => name !== topic);
      showChips();
      byId('topics').focus();
    });
    return tint(el('li', { class: 'chip' }, el('span', {}, visible(topic)), remove), topic);
  }));
  byId('topics').placeholder = draft.length === 0 ? 'orders, prices…' : 'add…';
  showSubmit();
}

// The label of the button names its effect on the current connection.
function showSubmit() {
  const same = connection !== null && toQuery(readForm()) === toQuery(subscription);
  setText(byId('subscribe'), connection === null ? 'Subscribe' : same ? 'Restart' : 'Apply');
  byId('subscribe').className = same ? 'tonal' : 'primary';
}

byId('subscription').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const next = readForm();
  if (next.topics.length === 0) byId('topics').focus();
  else subscribe(next);
});
byId('topics').addEventListener('input', (input) => {
  if (/[\s,]/.test(input.target.value)) takeTyped();
});
byId('topics').addEventListener('keydown', (key) => {
  if (key.key !== 'Backspace' || key.target.value !== '' || draft.length === 0) return;
  draft.pop();
  showChips();
});
for (const use of ['input', 'click']) {
  byId('from-count').addEventListener(use, () => {
    document.querySelector('input[name="from"][value="last"]').checked = true;
    showSubmit();
  });
}
byId('subscription').addEventListener('input', showSubmit);
byId('disconnect').addEventListener('click', () => {
  connection?.close();
  connection = null;
  byId('disconnect').hidden = true;
  showSubmit();
  setState('idle', '');
  byId('subscribe').focus();
});
byId('subscribe-demo').addEventListener('click', () => subscribe({ topics: ['demo'], from: '-20', types: [] }));
window.addEventListener('popstate', () => {
  const next = fromQuery(location.search);
  if (toQuery(next) !== toQuery(subscription)) subscribe(next, { remember: false }); // a new fragment changes nothing
});

// --- The display ---

function showFacts() {
  const { events, readies, gaps, missed, lastId, liveSince } = facts;
  setText(byId('connected'), liveSince === null ? '–' : duration(Date.now() - liveSince));
  setText(byId('event-count'), events.toLocaleString('en'));
  const rate = rateChart.rate();
  setText(byId('rate'), `${number(rate < 10 ? rate : Math.round(rate))}/s`);
  setText(byId('reconnect-count'), Math.max(0, readies - 1).toLocaleString('en'));
  setText(byId('gap-count'), missed > 0 ? `${gaps} · ${missed.toLocaleString('en')} missed` : String(gaps));
  byId('gap-count').title = byId('gap-count').textContent;
  byId('gap-count').dataset.gaps = gaps;
  setText(byId('last-id'), lastId || '–');
  byId('last-id').title = lastId;
}

function showList() {
  const rows = timeline.rows;
  setText(byId('shown'), facts.events - timeline.waiting > rows ? `the newest ${rows} of ${facts.events.toLocaleString('en')}` : '');
  byId('pause').dataset.paused = timeline.paused;
  setText(byId('pause'), timeline.paused ? 'Continue' : 'Pause');
  byId('waiting').hidden = !timeline.paused;
  const waiting = timeline.waiting;
  const bound = waiting > ROWS_MAX ? `, the newest ${ROWS_MAX} will be shown` : '';
  setText(byId('waiting'), `Paused. ${waiting.toLocaleString('en')} ${waiting === 1 ? 'event waits' : 'events wait'}${bound}.`);
  byId('quiet').hidden = facts.events > 0 || facts.state !== 'live';
}

function showRate() {
  rateChart.draw();
  const peak = number(rateChart.peak());
  setText(byId('rate-reading'), rateChart.reading() ?? `peak ${peak}`);
  byId('rate-chart').setAttribute('aria-label', `Events a second over the last two minutes, at most ${peak}`);
}

function refresh() {
  if (document.hidden || document.body.dataset.view === 'welcome') return;
  showFacts();
  showList();
  showRate();
  series.draw();
}

function redraw() {
  rateChart.draw();
  series.draw({ all: true });
}

function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function showCommands() {
  const url = `${location.origin}/v1/events?topic=demo`;
  const lines = [['Watch in a terminal', `curl -N '${url}'`]];
  if (canPublish) lines.push(['Publish an event', `curl -d 'hello' '${url}'`]);
  lines.push(['Watch in a page', `new EventSource('${url}')`]);
  byId('commands').replaceChildren(...lines.map(([purpose, command]) => el('li', {},
    el('span', { class: 'purpose' }, purpose), el('code', {}, command), copyButton(`Copy: ${purpose}`, () => command))));
}

// --- The keyboard ---

const SHORTCUTS = {
  '/': () => byId('topics').focus(),
  e: () => byId('events').focus(),
  w: () => byId('publish-data').focus(),
  p: () => byId('pause').click(),
  c: () => byId('clear').click(),
  t: () => byId('theme').click(),
  '?': () => byId('shortcuts').showModal(),
};

document.addEventListener('keydown', (key) => {
  const typing = key.target.matches('textarea, input:not([type=radio], [type=checkbox])');
  if (typing && key.key === 'Escape') key.target.blur();
  if (typing || key.ctrlKey || key.metaKey || key.altKey || byId('shortcuts').open) return;
  const shortcut = SHORTCUTS[key.key];
  if (shortcut === undefined) return;
  key.preventDefault();
  shortcut();
});

byId('pause').addEventListener('click', () => timeline.pause(!timeline.paused));
byId('clear').addEventListener('click', () => timeline.clear());
byId('theme').addEventListener('click', () => window.tailwaterTheme.toggle());
byId('help').addEventListener('click', () => byId('shortcuts').showModal());
byId('last-id-copy').replaceWith(copyButton('Copy the last id', () => facts.lastId));
document.documentElement.addEventListener('themechange', redraw);
window.addEventListener('resize', redraw);

byId('shortcut-publish').hidden = !canPublish;
setText(byId('served-by'), `${setting('version')} on ${setting('node')}`);
showCommands();
enableToken(() => { if (subscription !== null) subscribe(subscription); });
if (canPublish) enablePublishing(() => (subscription === null ? 'demo' : topicOf(subscription)));
setInterval(refresh, REFRESH_MS);
subscribe(fromQuery(location.search), { remember: false });
