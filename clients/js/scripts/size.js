// Checks the size of bundles: minified and gzipped, in one file with all that it imports.

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Most bytes of the client, without the parts that an application imports by themselves. */
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
const print = (bytes, name) => console.log(`${String(bytes).padStart(6)} bytes gzipped  ${name}`);
print(client, `the client, of at most ${LIMIT}`);
print((await size('index', 'tabs')) - client, 'more with `tabs`');
print((await size('index', 'react')) - client, 'more with the hook of React');
if (client > LIMIT) process.exit(1);
