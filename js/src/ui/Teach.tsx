import { useState } from 'preact/hooks';
import type { Problem } from '../core/board';
import { trans } from '../core/words';

/** What to type, with a button that copies it. */
export function Snippet({ text, label }: { text: string; label: string }) {
  const [said, say] = useState<string | null>(null);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      say(trans.__('Copied'));
    } catch {
      say(trans.__('Not allowed')); // pages on plain http may not write to the clipboard
    }
    setTimeout(() => say(null), 1500);
  };
  return (
    <div class="jp-wattle-snippet">
      <pre tabindex={0} aria-label={label}>{text}</pre>
      <button type="button" class="jp-wattle-button" onClick={() => void copy()}>
        {said ?? trans.__('Copy')}
      </button>
    </div>
  );
}

const LOAD = '%load_ext wattle_jupyter';
const DEFINE = '%%wattle hello\ngreet: echo hello\ncount <- greet: seq 3';
const RUN = '%wattle run hello';

/** Nothing has run yet: how to begin. */
export function FirstSteps({ what }: { what: string }) {
  return (
    <div class="jp-wattle-teach">
      <h3>{what}</h3>
      <p>{trans.__('Three cells of a notebook are enough. Load the extension:')}</p>
      <Snippet text={LOAD} label={trans.__('Cell that loads the extension')} />
      <p>{trans.__('Define a workflow:')}</p>
      <Snippet text={DEFINE} label={trans.__('Cell that defines a workflow')} />
      <p>{trans.__('Run it. It goes on when you close the notebook or restart the kernel, and it shows here:')}</p>
      <Snippet text={RUN} label={trans.__('Cell that runs it')} />
    </div>
  );
}

const INSTALL = 'pip install wattle-jupyter\njupyter server extension enable wattle_jupyter';

/** Why there is nothing to see, and what to do about it. */
export function ProblemPanel({ problem, again }: { problem: Problem; again: () => void }) {
  const { kind, message } = problem;
  const title = {
    missing: trans.__('This server has no Wattle'),
    denied: trans.__('You may not see the runs'),
    starting: trans.__('The engine is not ready'),
    unreachable: trans.__('The server cannot be reached'),
    failed: trans.__('The runs could not be read')
  }[kind];
  return (
    <div class="jp-wattle-teach" role="alert">
      <h3>{title}</h3>
      {kind === 'missing' && (
        <>
          <p>{trans.__('JupyterLab shows this panel, but the Jupyter server behind it does not answer for it. In the environment of the server, run:')}</p>
          <Snippet text={INSTALL} label={trans.__('Commands that install the server extension')} />
          <p>{trans.__('Then restart the server. If it is installed, the log of the server says why it did not start.')}</p>
        </>
      )}
      {kind === 'denied' && <p>{trans.__('Your login may have ended: reload the page and log in again. On a shared server, ask who runs it for the right to read “wattle”.')}</p>}
      {kind === 'starting' && <p>{trans.__('This panel shows the runs as soon as it is. Tasks that run go on meanwhile.')}</p>}
      {kind === 'unreachable' && <p>{trans.__('Runs go on without it. This panel catches up by itself as soon as the server is back.')}</p>}
      {kind !== 'missing' && <p class="jp-wattle-said">{message}</p>}
      <button type="button" class="jp-wattle-button" onClick={again}>
        {trans.__('Check again')}
      </button>
    </div>
  );
}
