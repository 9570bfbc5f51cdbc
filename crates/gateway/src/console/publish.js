// publish.js owns the publish form: one POST, and its receipt or error.

import { byId, visible } from './dom.js';
import { authorization, refusal } from './token.js';

/** Shows and activates the form; `topic` returns the topic for an empty topic field. */
export function enablePublishing(topic) {
  const form = byId('publish');
  const [topicField, typeField, data] = [byId('publish-topic'), byId('publish-type'), byId('publish-data')];
  const [send, result] = [byId('publish-send'), byId('publish-result')];
  form.hidden = false;

  data.addEventListener('keydown', (key) => {
    if (key.key === 'Enter' && (key.ctrlKey || key.metaKey)) {
      key.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener('submit', async (submit) => {
    submit.preventDefault();
    if (send.disabled) return;
    send.disabled = true;
    const outcome = await publish(topicField.value.trim() || topic(), typeField.value.trim(), data.value);
    send.disabled = false;
    result.dataset.outcome = outcome.ok ? 'stored' : 'refused';
    result.textContent = outcome.text;
    if (outcome.ok && document.activeElement === data) data.select(); // to send again or to type over
  });
}

async function publish(topic, type, body) {
  const query = new URLSearchParams({ topic });
  if (type) query.set('type', type);
  try {
    const response = await fetch(`/v1/events?${query}`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain; charset=utf-8', ...authorization() },
      body,
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) return { ok: false, text: refusal(response.status, answer.error) };
    return { ok: true, text: `${answer.duplicate ? 'already stored' : 'stored'} in ${visible(answer.topic)} as ${answer.id}` };
  } catch {
    return { ok: false, text: 'not stored: the server is unreachable' };
  }
}
