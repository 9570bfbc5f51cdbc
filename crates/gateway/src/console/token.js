// token.js owns the token of this tab: a field of the page, kept for the session, never in a URL.

import { byId } from './dom.js';

const KEY = 'tailwater-token';
const isClosed = document.querySelector('meta[name="tailwater-closed"]').content === 'true';

/** Shows the field if the node demands tokens; `changed` is called when the token changes. */
export function enableToken(changed) {
  if (!isClosed) return;
  const field = byId('token');
  byId('token-field').hidden = false;
  field.value = token();
  field.addEventListener('change', () => {
    sessionStorage.setItem(KEY, field.value.trim());
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
    const message = answer.error?.message ?? `refused with status ${response.status}`;
    return { message, isFinal: response.status < 500 && response.status !== 429 };
  } catch {
    return { message: 'the gateway is unreachable', isFinal: false };
  }
}

function token() {
  return isClosed ? (sessionStorage.getItem(KEY) ?? '') : '';
}
