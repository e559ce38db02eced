/** Outlines in a 16 × 16 box. */
const PATHS = {
  search: 'M7 2.8 A4.2 4.2 0 1 1 6.99 2.8 M10.2 10.2 L13.4 13.4',
  clear: 'M4.5 4.5 L11.5 11.5 M11.5 4.5 L4.5 11.5',
  start: 'M5.2 3.4 L12.4 8 L5.2 12.6 Z'
};

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="jp-wattle-glyph" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
