// One page for each subject. Ours is built from the product's sources, with the product's own Preact.
import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const subjects = ['wattle-graph', 'react-flow', 'cytoscape', 'layouts', 'wattle-log', 'xterm'];
const sizes = {};
for (const name of subjects) {
  const ours = name.startsWith('wattle') || name === 'layouts';
  await build({
    entryPoints: { [name]: `src/${name}.${name === 'layouts' || name === 'cytoscape' || name === 'xterm' ? 'ts' : 'tsx'}` },
    outdir: 'build',
    bundle: true,
    minify: true,
    format: 'iife',
    target: ['es2021'],
    jsx: 'automatic',
    jsxImportSource: ours ? 'preact' : 'react',
    nodePaths: [new URL('../../js/node_modules', import.meta.url).pathname],
    define: { 'process.env.NODE_ENV': '"production"' },
    legalComments: 'none',
    logLevel: 'error'
  });
  sizes[name] = gzipSync(readFileSync(`build/${name}.js`), { level: 9 }).length;
}
console.log(JSON.stringify(sizes));
