import type { LogOf, LogQuestion, Verb } from './feed';
import type { ErrorBody, RunDetail, TaskRunDetail } from './wire';

/** An answer that is not a success, in the server's words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly error: string,
    message: string
  ) {
    super(message);
  }
}

export interface Answer {
  status: number;
  /** The JSON document of the answer, or null if there is none. */
  body: unknown;
}

/** Sends one request; `path` is relative to the API's root. Throws if nothing came back. */
export type Send = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body: unknown,
  headers: Record<string, string>,
  signal: AbortSignal | null
) => Promise<Answer>;

const TASK_VERBS = { 'stop-task': 'stop', 'retry-task': 'retry' } as const;

export const segment = (text: string): string => encodeURIComponent(text);

const logPath = ({ run, task, attempt }: LogOf, what = ''): string =>
  `runs/${segment(run)}/tasks/${segment(task)}/logs${what}?attempt=${segment(attempt)}`;

export const downloadPath = (of: LogOf): string => `${logPath(of)}&download=1`;

/** The requests of a view, over any way to send one. */
export class Api {
  constructor(private readonly send: Send) {}

  run(run: string, signal: AbortSignal): Promise<RunDetail> {
    return this.get<RunDetail>(`runs/${segment(run)}`, signal);
  }

  task(run: string, task: string, signal: AbortSignal): Promise<TaskRunDetail> {
    return this.get<TaskRunDetail>(`runs/${segment(run)}/tasks/${segment(task)}`, signal);
  }

  logAsk<T>(of: LogOf, what: LogQuestion, query: Record<string, string>, signal: AbortSignal): Promise<T> {
    return this.get<T>(`${logPath(of, `/${what}`)}&${new URLSearchParams(query).toString()}`, signal);
  }

  async act(run: string, verb: Verb): Promise<void> {
    const root = `runs/${segment(run)}`;
    if (verb.verb === 'delete') return void dataOf(await this.send('DELETE', root, null, { 'Idempotency-Key': randomId() }, null));
    const path = 'task' in verb ? `${root}/tasks/${segment(verb.task)}/${TASK_VERBS[verb.verb]}` : `${root}/${verb.verb}`;
    // a repeat after a lost answer must not act twice
    const answer = await this.send('POST', path, {}, { 'Idempotency-Key': randomId() }, null);
    dataOf(answer);
  }

  private async get<T>(path: string, signal: AbortSignal): Promise<T> {
    return dataOf(await this.send('GET', path, null, {}, signal)) as T;
  }
}

/** What an answer brings. Throws ApiError if it is not a success. */
export function dataOf(answer: Answer): unknown {
  const body = answer.body as { success?: unknown; data?: unknown } | null;
  if (answer.status < 300 && body !== null && body.success === true) return body.data;
  const failure = body as Partial<ErrorBody> | null;
  throw new ApiError(
    answer.status,
    String(failure?.error ?? 'Unknown'),
    String(failure?.message ?? refusal(answer.status))
  );
}

function refusal(status: number): string {
  if (status === 404) return 'The server does not know this address: is the wattle-jupyter server extension enabled?';
  if (status === 401 || status === 403) return 'The server refused: log in to Jupyter again and reload the page.';
  return `The server answered with status ${status} and no explanation.`;
}

/** 32 hex digits. `crypto.randomUUID` does not exist on plain http pages, `getRandomValues` does. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, b => b.toString(16).padStart(2, '0')).join('');
}
