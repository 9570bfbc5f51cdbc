// Opens a page in a browser and prints everything that the page logs:
//   node browser.mjs chromium|firefox-esr PAGE URL
// The page comes from the origin of URL, whose server asks this one (PAGE_PORT) for it. A script is
// bundled into an empty page. In HTML, `{url}` stands for URL. PHP renders a page of Blade. Every <p> that
// is added is printed.

import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { components } from './components.mjs'

const [browser, file, url] = process.argv.slice(2)
const port = Number(process.env.PAGE_PORT)
const root = dirname(fileURLToPath(import.meta.url))
const path = join(root, file)

const prelude = `<!doctype html><meta charset="utf-8"><body><script>
  const url = ${JSON.stringify(url)}
  let printed = Promise.resolve()
  const print = (way, body) => {
    printed = printed.then(() => fetch('http://127.0.0.1:${port}/' + way, { method: 'POST', body }))
  }
  console.log = text => print('print', String(text))
  console.error = text => print('error', String(text))
  addEventListener('error', event => print('error', event.message))
  new MutationObserver(changes => {
    for (const { addedNodes } of changes)
      for (const node of addedNodes)
        if (node.tagName === 'P') console.log(node.textContent)
  }).observe(document, { childList: true, subtree: true })
</script>`

async function page() {
  if (file.endsWith('.blade.php')) return prelude + execFileSync('php', [join(dirname(path), 'page.php'), path, url])
  if (file.endsWith('.html')) return prelude + readFileSync(path, 'utf8').replaceAll('{url}', url.replaceAll('&', '&amp;'))
  const { outputFiles } = await build({
    entryPoints: [path],
    bundle: true,
    write: false,
    format: 'iife',
    jsx: 'automatic',
    plugins: [components({ vue: () => import('vue/compiler-sfc'), svelte: () => import('svelte/compiler') })],
  })
  return `${prelude}<script>${outputFiles[0].text.replaceAll('</script', '<\\/script')}</script>`
}

const html = await page()
const server = createServer(async (request, response) => {
  response.setHeader('access-control-allow-origin', '*')
  response.setHeader('connection', 'close')
  if (request.method === 'POST') {
    let body = ''
    for await (const part of request.setEncoding('utf8')) body += part
    const print = request.url === '/print' ? console.log : console.error
    print(body.replaceAll('\n', ' '))
    response.end()
  } else if (/^\/(node_modules|pypi-wheels)\//.test(request.url)) {
    const folder = request.url.startsWith('/node_modules/') ? root : dirname(root)
    response.setHeader('content-type', 'text/javascript')
    response.end(readFileSync(join(folder, request.url)))
  } else {
    response.setHeader('content-type', 'text/html')
    response.end(request.url === '/' ? html : '')
  }
})
server.listen(port, '127.0.0.1', () => {
  const profile = join(tmpdir(), 'profile')
  const flags = {
    chromium: [
      '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-proxy-server',
      '--no-first-run', '--disable-sync', '--disable-background-networking', '--disable-component-update',
      `--user-data-dir=${profile}`,
    ],
    'firefox-esr': ['--headless', '--no-remote', '--profile', profile],
  }
  mkdirSync(profile, { recursive: true })
  const child = spawn(browser, [...flags[browser], new URL('/', url).href], { stdio: ['ignore', 'ignore', 'inherit'] })
  child.on('exit', code => process.exit(code ?? 1))
})
