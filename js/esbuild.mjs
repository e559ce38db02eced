// The widget: one self-contained ES module and one style sheet, sent along with every widget by anywidget, hence small.
import { build } from 'esbuild';

await build({
  entryPoints: { widget: 'src/widget/index.tsx' },
  outdir: '../wattle_jupyter/static',
  bundle: true,
  format: 'esm',
  minify: true,
  target: ['es2021'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'info'
});
