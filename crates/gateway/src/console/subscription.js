// subscription.js owns the subscription `{topics, from, types}`, whose topics may be patterns, its page query and its URL at the gateway.

export const TOPICS_MAX = 64; // the gateway's default --max-topics

/** Returns the names in free text, separated by spaces or commas, without duplicates. */
export function names(text) {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}

/** Returns a topic that a subscription has: its first one, or one that its first pattern matches. */
export function topicOf({ topics }) {
  return topics.find((topic) => !topic.includes('*')) ?? topics[0].replace(/\*+/g, 'demo');
}

/** Returns the subscription of a page query, or null. */
export function fromQuery(search) {
  const query = new URLSearchParams(search);
  const topics = [...new Set(query.getAll('topic').flatMap(names))].slice(0, TOPICS_MAX);
  if (topics.length === 0) return null;
  return { topics, from: query.get('from') || 'latest', types: names(query.get('types') ?? '') };
}

/** Returns the page's address for a subscription; a link to it subscribes at once. */
export function toQuery(subscription) {
  return subscription === null ? '/' : `/?${parameters(subscription)}`;
}

/** Returns the gateway's URL for a subscription, which resumes after `cursor` if there is one. */
export function eventsUrl(subscription, cursor, ticket = '') {
  const query = parameters(subscription);
  query.set('envelope', 'json');
  if (cursor) query.set('last_event_id', cursor);
  if (ticket) query.set('ticket', ticket);
  return `/v1/events?${query}`;
}

function parameters({ topics, from, types }) {
  const query = new URLSearchParams();
  for (const topic of topics) query.append('topic', topic);
  if (from !== 'latest') query.set('from', from);
  if (types.length > 0) query.set('types', types.join(','));
  return query;
}
