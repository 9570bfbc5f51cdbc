// The reason why a stream was refused or was lost.

export interface Details {
  /** The gateway's code, such as `forbidden` or `drain`; or `network`, `silent`, `ended` or `not_a_stream`. */
  readonly code: string;
  /** The status of the gateway's answer, if it answered. */
  readonly status?: number | undefined;
  /** Milliseconds that the gateway asks to wait, from `Retry-After`. */
  readonly retryAfter?: number;
  /** True if the client does not try again. */
  readonly isFinal?: boolean;
}

export class TailwaterError extends Error implements Details {
  override readonly name = 'TailwaterError';
  declare readonly code: string;
  declare readonly status?: number | undefined;
  declare readonly retryAfter?: number;
  declare readonly isFinal?: boolean;

  constructor(message: string, details: Details) {
    super(message);
    Object.assign(this, details);
  }
}

/** Wraps the error of a `fetch` or of a callback: a condition that may pass. */
export function wrap(thrown: unknown): TailwaterError {
  return thrown instanceof TailwaterError ? thrown : new TailwaterError(String(thrown), { code: 'network' });
}

/** Reads the refusal of a gateway, or of a proxy before it. */
export async function refusal(response: Response): Promise<TailwaterError> {
  const { status, headers } = response;
  const body = await response.json().catch(() => undefined);
  const { code = `http_${status}`, message = `the gateway answered ${status}` } = body?.error ?? {};
  return new TailwaterError(message, {
    status,
    code,
    retryAfter: milliseconds(headers.get('retry-after') ?? ''),
    isFinal: status < 500 && !PASSING.includes(status),
  });
}

/** Statuses below 500 of conditions that pass. */
const PASSING = [408, 425, 429];
/** Longest pause that `Retry-After` can ask for, in milliseconds. */
const RETRY_AFTER_MAX = 3_600_000;

/** Reads a number of seconds, or a date. */
function milliseconds(retryAfter: string): number {
  const ms = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return Math.min(ms || 0, RETRY_AFTER_MAX);
}
