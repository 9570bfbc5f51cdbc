// token.js owns the token of this tab: a field of the page, kept for the session, never in a URL.

import { byId } from './dom.js';

const KEY = 'tailwater-token';
let kept = stored(); // as long as the page, where a window refuses storage
const isClosed = document.querySelector('meta[name="tailwater-closed"]').content === 'true';

/** Shows the field if the node demands tokens; `changed` is called when the token changes. */
export function enableToken(changed) {
  if (!isClosed) return;
  const field = byId('token');
  byId('token-field').hidden = false;
  field.value = token();
  field.addEventListener('change', () => {
    kept = field.value.trim();
    try { sessionStorage.setItem(KEY, kept); } catch { /* see above */ }
    changed();
  });
}

/** Returns the headers of a request with the token. */
export function authorization() {
  return token() === '' ? {} : { Authorization: `Bearer ${token()}` };
}

/** Exchanges the token for a ticket, which an EventSource can bring. Without a token there is none. */
export async function ticketFor(topics) {
  if (token() === '') return { ticket: '' };
  try {
    const response = await fetch('/v1/tickets', {
      method: 'POST',
      headers: authorization(),
      body: JSON.stringify({ topics }),
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return { ticket: answer.ticket };
    return { message: refusal(response.status, answer.error), isFinal: response.status < 500 && response.status !== 429 };
  } catch {
    return { message: 'the gateway is unreachable', isFinal: false };
  }
}

/** Returns a refusal in words for a person at this page; `error` is that of the answer, if it has one. */
export function refusal(status, error) {
  const message = error?.message ?? `refused with status ${status}`;
  if (status !== 401) return message;
  if (error?.code === 'no_token') return 'this needs a token: enter one in the field Token';
  return `${message}: enter another in the field Token`;
}

function token() {
  return isClosed ? kept : '';
}

function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}
