/** Outlines in a 16 × 16 box. */
const PATHS = {
  search: 'M7 2.8 A4.2 4.2 0 1 1 6.99 2.8 M10.2 10.2 L13.4 13.4',
  clear: 'M4.5 4.5 L11.5 11.5 M11.5 4.5 L4.5 11.5',
  start: 'M5.2 3.4 L12.4 8 L5.2 12.6 Z',
  graph: 'M1.8 5.8 h4 v4.4 h-4 Z M10.2 2 h4 v4.4 h-4 Z M10.2 9.6 h4 v4.4 h-4 Z M5.8 8 L8 8 M8 4.2 L8 11.8 M8 4.2 L10.2 4.2 M8 11.8 L10.2 11.8',
  table: 'M2 3.4 h12 v9.2 h-12 Z M2 6.4 h12 M2 9.5 h12 M6.4 6.4 v6.2',
  follow: 'M8 2.4 V10.6 M4.6 7.4 L8 10.8 L11.4 7.4 M3.4 13.4 h9.2',
  wrap: 'M2 3.6 h12 M2 8 h9.6 a2.4 2.4 0 0 1 0 4.8 H8.6 M10.4 10.8 L8.4 12.8 L10.4 14.6 M2 12.6 h3.6',
  clock: 'M8 2.2 A5.8 5.8 0 1 1 7.99 2.2 M8 4.8 V8.2 L10.4 9.8',
  copy: 'M5.6 5.6 h7.8 v7.8 h-7.8 Z M10.4 5.6 V2.6 H2.6 V10.4 H5.6',
  download: 'M8 2.2 V9.6 M5 6.8 L8 9.8 L11 6.8 M2.8 10.4 V13.4 H13.2 V10.4',
  alert: 'M8 2.4 L14.2 13.2 H1.8 Z M8 6.4 V9.6 M8 11.2 V11.6',
  link: 'M6.8 9.2 L9.6 6.4 M7.4 4.6 L8.9 3.1 a2.8 2.8 0 0 1 4 4 L11.4 8.6 M8.6 11.4 L7.1 12.9 a2.8 2.8 0 0 1 -4 -4 L4.6 7.4',
  up: 'M3.8 10 L8 5.8 L12.2 10',
  down: 'M3.8 6 L8 10.2 L12.2 6',
  keys: 'M1.8 4.2 h12.4 v7.8 h-12.4 Z M4.2 6.8 h0.6 M7.7 6.8 h0.6 M11.2 6.8 h0.6 M5 9.6 h6'
};

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="jp-wattle-glyph" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
