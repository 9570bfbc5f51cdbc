// The components of docs/clients for React, Vue and Svelte, compiled for a page or for a server.

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { components } from '../../../../interop/npm/components.mjs';

const ENTRIES = { React: 'react', Vue: 'vue', Svelte: 'svelte' };
const SUFFIXES = { React: 'jsx', Vue: 'js', Svelte: 'js' };

const VUE_FLAGS = ['__VUE_OPTIONS_API__', '__VUE_PROD_DEVTOOLS__', '__VUE_PROD_HYDRATION_MISMATCH_DETAILS__'];

export const FRAMEWORK_NAMES = Object.keys(ENTRIES);

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

async function bundle(name, isServer) {
  const { outputFiles } = await build({
    entryPoints: [path(`components/${ENTRIES[name]}${isServer ? '-server' : ''}.${SUFFIXES[name]}`)],
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    platform: isServer ? 'node' : 'browser',
    // Modules for servers are written for `require`.
    banner: isServer
      ? { js: "import { createRequire } from 'node:module'; const require = createRequire('/');" }
      : {},
    alias: {
      '@tailwater/client/react': path('../../dist/react.js'),
      '@tailwater/client': path('../../dist/index.js'),
    },
    nodePaths: [path('../../node_modules')],
    // Otherwise Vue warns on each page.
    define: Object.fromEntries(VUE_FLAGS.map((flag) => [flag, 'true'])),
    plugins: [
      components({
        vue: () => import('vue/compiler-sfc'),
        svelte: () => import('svelte/compiler'),
        isServer,
      }),
    ],
  });
  return outputFiles[0].text;
}

/** Returns the script of a page, which gets the functions `mount` and `hydrate`. */
export const pageScript = (name) => bundle(name, false);

/** Renders the component as a server does. */
export async function renderOnServer(name, props) {
  const code = Buffer.from(await bundle(name, true)).toString('base64');
  const { render } = await import(`data:text/javascript;base64,${code}`);
  return render(props);
}
