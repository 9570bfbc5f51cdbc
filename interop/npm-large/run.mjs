// Runs a program in a runtime that npm has installed: node run.mjs node|bun|deno PROGRAM URL

import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [runtime, program, url] = process.argv.slice(2)
const root = dirname(fileURLToPath(import.meta.url))
const modules = join(root, 'node_modules')
const words = {
  node: [join(modules, `node-linux-${process.arch}/bin/node`)],
  bun: [join(modules, `@oven/bun-linux-${process.arch === 'x64' ? 'x64' : 'aarch64'}/bin/bun`)],
  deno: [process.execPath, join(modules, 'deno/bin.cjs'), 'run', '--quiet', '--allow-all'],
}[runtime]
const [command, ...args] = [...words, join(root, program), url]
spawn(command, args, { stdio: 'inherit' }).on('exit', code => process.exit(code ?? 1))
