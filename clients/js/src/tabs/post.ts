// The posts of tabs to each other, as they are cloned through a BroadcastChannel.

import type { Place } from '../cursor.js';
import { type Details, TailwaterError } from '../error.js';
import type { Step } from '../reader.js';

/** An error as a plain object: the clone of an `Error` loses its own fields. */
type PlainError = Details & { message: string };

/** A tab asks for the leader's state. */
interface HelloPost {
  kind: 'hello';
}

interface LeaderPost {
  /** A later leader has a greater term. */
  term: number;
  /** The number of the leader's last step, or of this one. */
  seq: number;
}

export interface StatePost extends LeaderPost {
  kind: 'state';
  place: Place;
  isOpen: boolean;
  /** The topics that have ended. */
  ended: readonly string[];
}

export interface StepPost extends LeaderPost {
  kind: 'step';
  step: Exclude<Step, { kind: 'lost' }> | { kind: 'lost'; error: PlainError };
  /** The cursor after the step. */
  id: string;
}

/** All topics have ended, or no tab can read them. */
export interface OverPost extends LeaderPost {
  kind: 'over';
  error: PlainError | undefined;
}

export type Post = HelloPost | StatePost | StepPost | OverPost;

export function packError(error: TailwaterError): PlainError {
  return { ...error, message: error.message };
}

export function unpackError(error: PlainError): TailwaterError {
  return new TailwaterError(error.message, error);
}
