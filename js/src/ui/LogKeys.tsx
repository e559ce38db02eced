import { trans } from '../core/words';

const KEYS = (): [string, string][] => [
  ['/', trans.__('find')],
  ['n N', trans.__('next, previous hit')],
  ['e E', trans.__('next, previous error')],
  ['g G', trans.__('top, end')],
  [':', trans.__('go to line')],
  ['f', trans.__('follow')],
  ['w', trans.__('wrap')],
  ['t', trans.__('times')],
  ['l', trans.__('line numbers')],
  ['c', trans.__('copy')],
  ['y', trans.__('copy a link to the line')],
  ['d', trans.__('download')],
  ['?', trans.__('keys')]
];

/** What the keys do while the log has the focus. */
export function LogKeys() {
  return (
    <ul class="jp-wattle-log-keys" aria-label={trans.__('Keys of the log')}>
      {KEYS().map(([keys, text]) => (
        <li key={keys}>
          {keys.split(' ').map(key => <kbd key={key}>{key}</kbd>)} {text}
        </li>
      ))}
    </ul>
  );
}
