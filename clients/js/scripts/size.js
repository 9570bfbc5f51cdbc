// Checks the size of the bundle: minified and gzipped, with all that it imports.

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Most bytes of the part that each page loads. */
const LIMIT = 6 * 1024;

/** Bundles modules as an application does, and returns the name and the size of each part. */
async function parts(...entryPoints) {
  const { outputFiles } = await build({
    entryPoints,
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    outdir: 'size',
    write: false,
    external: ['react'],
  });
  return outputFiles.map(({ path, contents }) => [
    path.replace(/.*[/\\]/, ''),
    gzipSync(contents, { level: 9 }).length,
  ]);
}

const sizes = await parts('dist/index.js');
for (const [name, bytes] of sizes) console.log(`${String(bytes).padStart(6)} bytes gzipped  ${name}`);
const lazy = sizes.find(([name]) => name.startsWith('member'));
const first = sizes.reduce((sum, [, bytes]) => sum + bytes, 0) - lazy[1];
console.log(
  `${String(first).padStart(6)} of at most ${LIMIT} bytes for each page; ${lazy[1]} more with \`shared\``,
);
const [, hook] = (await parts('dist/index.js', 'dist/react.js')).find(([name]) => name === 'react.js');
console.log(`${String(hook).padStart(6)} bytes more with the hook of React`);
if (first > LIMIT) process.exit(1);
