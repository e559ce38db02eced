import { STATE_NAMES, type RunSummary, type StateName } from './wire';

export interface RunQuery {
  /** Any of these; none means all. */
  states: readonly StateName[];
  /** Part of the workflow's name, or the beginning of the run's id. */
  text: string;
}

export const ALL: RunQuery = { states: [], text: '' };

const STATES: readonly string[] = STATE_NAMES;

/** Whether it is a query, wherever it was kept. */
export function isQuery(data: unknown): data is RunQuery {
  const query = data as Partial<RunQuery> | null;
  return typeof query === 'object' && query !== null && typeof query.text === 'string' && Array.isArray(query.states) && query.states.every(state => STATES.includes(state));
}

/** What the server would say: the same rules as its search has. */
export function matches({ states, text }: RunQuery, run: RunSummary): boolean {
  if (states.length > 0 && !states.includes(run.state)) return false;
  const wanted = text.toLowerCase();
  return wanted === '' || run.workflow.toLowerCase().includes(wanted) || run.id.startsWith(wanted);
}

/**
 * The runs that match a query, newest first, of which only those that were looked at have been read.
 *
 * Events keep what is known current. What they cannot tell (a run far down that was never read) shows when the next
 * page says another total: then all but that page counts as not read.
 */
export class RunList {
  private rows: (RunSummary | undefined)[] = [];
  private readonly known = new Map<string, RunSummary>();

  constructor(readonly query: RunQuery = ALL) {}

  get length(): number {
    return this.rows.length;
  }

  at(index: number): RunSummary | undefined {
    return this.rows[index];
  }

  find(id: string): RunSummary | undefined {
    return this.known.get(id);
  }

  /** -1 if it is not there, or not read yet. */
  indexOf(id: string): number {
    const run = this.known.get(id);
    return run === undefined ? -1 : this.rows.indexOf(run);
  }

  /** A page as the server has it, when it has `total` of them. */
  place(offset: number, page: readonly RunSummary[], total: number): void {
    if (total !== this.rows.length) {
      this.rows = new Array<undefined>(total).fill(undefined);
      this.known.clear();
    }
    page.forEach((run, i) => {
      const old = this.indexOf(run.id);
      if (old >= 0) this.rows[old] = undefined;
      const evicted = this.rows[offset + i];
      if (evicted !== undefined) this.known.delete(evicted.id);
      if (offset + i >= total) return;
      this.rows[offset + i] = run;
      this.known.set(run.id, run);
    });
  }

  /** A run as it is now. Says whether the list is another one by that. */
  apply(run: RunSummary): boolean {
    const old = this.known.get(run.id);
    if (!matches(this.query, run)) return old !== undefined && this.remove(run.id);
    if (old === undefined) return this.insert(run);
    this.rows[this.rows.indexOf(old)] = run;
    this.known.set(run.id, run);
    return true;
  }

  remove(id: string): boolean {
    const index = this.indexOf(id);
    if (index < 0) return false;
    this.rows.splice(index, 1);
    this.known.delete(id);
    return true;
  }

  /** Only among what is known: further down it may be one of those that were not read. */
  private insert(run: RunSummary): boolean {
    const index = this.rows.findIndex(other => other === undefined || other.created_at <= run.created_at);
    const at = index < 0 ? this.rows.length : index;
    if (at < this.rows.length && this.rows[at] === undefined) return false;
    this.rows.splice(at, 0, run);
    this.known.set(run.id, run);
    return true;
  }
}
