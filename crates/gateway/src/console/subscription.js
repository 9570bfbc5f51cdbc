// subscription.js owns what to subscribe to: `{topics, from, types}`, the page's query and the gateway's URL for it.

export const TOPICS_MAX = 64; // the gateway's default --max-topics

/** Names in free text, separated by spaces or commas, each once. */
export function names(text) {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}

/** The subscription which a page query asks for, or null. */
export function fromQuery(search) {
  const query = new URLSearchParams(search);
  const topics = [...new Set(query.getAll('topic').flatMap(names))].slice(0, TOPICS_MAX);
  if (topics.length === 0) return null;
  return { topics, from: query.get('from') || 'latest', types: names(query.get('types') ?? '') };
}

/** The page's address for a subscription; a link to it connects at once. */
export function toQuery(subscription) {
  return subscription === null ? '/' : `/?${parameters(subscription)}`;
}

/** The gateway's URL for a subscription, resuming after `cursor` if there is one. */
export function eventsUrl(subscription, cursor) {
  const query = parameters(subscription);
  query.set('envelope', 'json');
  if (cursor) query.set('last_event_id', cursor);
  return `/v1/events?${query}`;
}

function parameters({ topics, from, types }) {
  const query = new URLSearchParams();
  for (const topic of topics) query.append('topic', topic);
  if (from !== 'latest') query.set('from', from);
  if (types.length > 0) query.set('types', types.join(','));
  return query;
}
