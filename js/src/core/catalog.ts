import { ApiError, dataOf, randomId, segment, type Send } from './api';
import type { RunQuery } from './runlist';
import type { Info, Pagination, RunDetail, RunSummary, WorkflowSummary } from './wire';

export interface PageOf<T> {
  data: T[];
  pagination: Pagination;
}

/** What there is on a server: runs and workflows, page by page. */
export class Catalog {
  constructor(private readonly send: Send) {}

  info(signal: AbortSignal): Promise<Info> {
    return this.get('info', signal);
  }

  /** Newest first; `page` counts from 1. */
  runs({ states, text }: RunQuery, page: number, size: number, signal: AbortSignal): Promise<PageOf<RunSummary>> {
    const query = new URLSearchParams({ page: String(page), page_size: String(size), sort_by: 'created_at', order: 'desc' });
    if (states.length > 0) query.set('status', states.join(','));
    if (text !== '') query.set('search', text);
    return this.get(`runs?${query.toString()}`, signal);
  }

  /** All of them, by name. */
  async workflows(signal: AbortSignal): Promise<WorkflowSummary[]> {
    const found: WorkflowSummary[] = [];
    for (let page = 1; ; page++) {
      const { data, pagination } = await this.get<PageOf<WorkflowSummary>>(`workflows?page=${page}&page_size=200&sort_by=name&order=asc`, signal);
      found.push(...data);
      if (!pagination.has_next) return found;
    }
  }

  async start(workflow: string): Promise<RunDetail> {
    // a repeat after a lost answer must not start a second run
    return dataOf(await this.send('POST', `workflows/${segment(workflow)}/start`, { cause: 'sidebar' }, { 'Idempotency-Key': randomId() }, null)) as RunDetail;
  }

  private async get<T>(path: string, signal: AbortSignal): Promise<T> {
    return dataOf(await this.send('GET', path, null, {}, signal)) as T;
  }
}

export type Trouble = 'missing' | 'denied' | 'starting' | 'unreachable' | 'failed';

/** What kind of help an error calls for. */
export function troubleOf(error: unknown): Trouble {
  if (!(error instanceof ApiError)) return 'unreachable';
  if (error.status === 404) return 'missing';
  if (error.status === 401 || error.status === 403) return 'denied';
  if (error.status === 503) return 'starting';
  return error.status === 0 || error.status >= 502 ? 'unreachable' : 'failed';
}
