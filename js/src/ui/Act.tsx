import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Verb } from '../core/feed';
import { trans } from '../core/words';

export type Doing = (verb: Verb) => Promise<void>;

/** Acts of one place of the view, and what the last of them failed with. */
export interface Acts {
  act: (verb: Verb) => void;
  problem: string | null;
  busy: boolean;
  dismiss: () => void;
}

/** What is done from here is said here, if it goes wrong. `of` another thing: what was said is over. */
export function useActs(doing: Doing, of: unknown): Acts {
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const current = useRef(of);
  current.current = of;
  useEffect(() => (setProblem(null), setBusy(false)), [of]);
  const act = (verb: Verb): void => {
    const mine = current.current;
    const tell = (said: string | null): void => {
      if (mine !== current.current) return;
      setBusy(false);
      setProblem(said);
    };
    setProblem(null);
    setBusy(true);
    doing(verb).then(
      () => tell(null),
      (error: unknown) => tell(error instanceof Error ? error.message : String(error))
    );
  };
  return { act, problem, busy, dismiss: () => setProblem(null) };
}

export function Problem({ acts: { problem, dismiss } }: { acts: Acts }) {
  if (problem === null) return null;
  return (
    <p class="jp-wattle-problem" role="alert">
      <span>{problem}</span>
      <button type="button" class="jp-wattle-button jp-mod-icon" aria-label={trans.__('Dismiss')} title={trans.__('Dismiss')} onClick={dismiss}>
        ×
      </button>
    </p>
  );
}

interface ActProps {
  text: string;
  hint: string;
  /** Why it cannot be pressed, or null. */
  off: string | null;
  run: () => void;
  danger?: boolean;
  busy?: boolean;
  quiet?: boolean;
}

/** A button that says why it cannot be pressed, also to who comes by keyboard. */
export function Act({ text, hint, off, run, danger, busy, quiet }: ActProps) {
  const idle = off === null && !busy;
  return (
    <button
      type="button"
      class={`jp-wattle-button${danger ? ' jp-mod-danger' : ''}${quiet ? ' jp-mod-quiet' : ''}`}
      title={off ?? hint}
      aria-description={off ?? undefined}
      aria-disabled={!idle}
      aria-busy={busy}
      onClick={() => idle && run()}
    >
      {text}
    </button>
  );
}

interface AskProps {
  question: string;
  label: string;
  yes: { text: string; hint: string; off: string | null; run: () => void };
  no: { text: string; hint: string };
  close: () => void;
}

/** Asks before something that hurts. The harmless answer has the focus; Escape gives it. */
export function Ask({ question, label, yes, no, close }: AskProps) {
  const box = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => [...(box.current?.querySelectorAll('button') ?? [])].at(-1)?.focus(), []);
  const key = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    close();
  };
  return (
    <span class="jp-wattle-confirm" role="alertdialog" aria-label={label} ref={box} onKeyDown={key}>
      <span>{question}</span>
      <Act {...yes} danger run={() => (close(), yes.run())} />
      <Act {...no} off={null} run={close} />
    </span>
  );
}
