// The public names of @tailwater/client.

export { TailwaterError } from './error.js';
export { type ErrorEvent, EventSource } from './event-source.js';
export type { Broken, End, Gap, Outcome, Ready } from './message.js';
export type { Options } from './options.js';
export type { Storage } from './store.js';
export { type SubscribeOptions, type Subscription, subscribe, type TailwaterEvent } from './subscribe.js';
