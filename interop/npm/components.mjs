// Compiles the components of Vue and Svelte for esbuild.

import { readFileSync } from 'node:fs'

/** Returns a plugin. `vue` and `svelte` import the compilers: `vue/compiler-sfc` and `svelte/compiler`. */
export function components({ vue, svelte, isServer = false }) {
  const compilers = {
    async '.vue'(source, filename) {
      const { parse, compileScript } = await vue()
      const { descriptor, errors } = parse(source, { filename })
      if (errors.length > 0) throw errors[0]
      const options = { id: filename, inlineTemplate: true, templateOptions: { ssr: isServer } }
      return compileScript(descriptor, options).content
    },
    async '.svelte'(source, filename) {
      const { compile } = await svelte()
      return compile(source, { filename, generate: isServer ? 'server' : 'client' }).js.code
    },
  }
  return {
    name: 'components',
    setup(build) {
      for (const [suffix, compile] of Object.entries(compilers)) {
        build.onLoad({ filter: new RegExp(`\\${suffix}$`) }, async ({ path }) => ({
          contents: await compile(readFileSync(path, 'utf8'), path),
          loader: 'js',
        }))
      }
    },
  }
}
