import type { LogOf } from './feed';

/** Where a log is opened instead of at its end. */
export type LogStart = { at: 'error' } | { at: 'byte'; byte: number };

/** A line of a log, as an address says it. */
export interface LogLink extends LogOf {
  byte: number;
}

const ID = /^[0-9a-f]{32}$/;

/** The query of an address that leads to a line: logs only grow, so the byte at which it begins is its name for good. */
export function linkQuery({ run, task, attempt, byte }: LogLink): string {
  return new URLSearchParams({ 'wattle-run': run, 'wattle-task': task, 'wattle-attempt': attempt, 'wattle-byte': String(byte) }).toString();
}

/** What such a query says; null if it is none. */
export function readLink(query: string): LogLink | null {
  const asked = new URLSearchParams(query);
  const [run, task, attempt, byte] = ['run', 'task', 'attempt', 'byte'].map(name => asked.get(`wattle-${name}`) ?? '');
  if (!run || !ID.test(run) || !task || !attempt || !ID.test(attempt) || !byte || !/^\d{1,15}$/.test(byte)) return null;
  return { run, task, attempt, byte: Number(byte) };
}
