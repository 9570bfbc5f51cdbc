// Checks the size of bundles: minified and gzipped, in one file with all that it imports.

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Most bytes of a bundle with everything but the hook of React. */
const LIMIT = 6 * 1024;

/** Bundles these modules as an application does, and returns the size. */
async function size(...modules) {
  const { outputFiles } = await build({
    stdin: {
      contents: modules.map((name) => `export * from './dist/${name}.js'`).join('\n'),
      resolveDir: process.cwd(),
    },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    external: ['react'],
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

const client = await size('index');
const shared = await size('index', 'tabs');
const hook = await size('index', 'react');
const print = (bytes, name) => console.log(`${String(bytes).padStart(6)} bytes gzipped  ${name}`);
print(client, 'the client');
print(shared - client, 'more with `tabs`');
print(hook - client, 'more with the hook of React');
print(shared, `the client with \`tabs\`, at most ${LIMIT}`);
if (shared > LIMIT) process.exit(1);
