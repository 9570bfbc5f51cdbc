// HAProxy with the configuration of deploy/haproxy.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './collect.js';
import { freePort } from './tailwater.js';

const DEPLOY = fileURLToPath(new URL('../../../../deploy/haproxy', import.meta.url));

/** Starts HAProxy in front of an ingest and one gateway, which stands for all three. */
export async function startHaproxy(ingest, gateway) {
  const folder = mkdtempSync(join(tmpdir(), 'tailwater-haproxy-'));
  const port = await freePort();
  const config = readFileSync(join(DEPLOY, 'haproxy.cfg'), 'utf8')
    .replace('bind :8080', `bind 127.0.0.1:${port}`)
    .replace('bind :8404', 'bind unix@operators.sock')
    .replaceAll('/usr/local/etc/haproxy/', '')
    .replaceAll(/^ +default-server resolvers .*\n/gm, '')
    .replaceAll(' resolvers docker init-addr libc,none', '')
    .replace('ingest:8081', `127.0.0.1:${ingest.port}`)
    .replaceAll(/gateway-\d:8080$/gm, `127.0.0.1:${gateway.port} port ${gateway.adminPort}`)
    .replaceAll(/gateway-\d:8080/g, `127.0.0.1:${gateway.port}`);
  writeFileSync(join(folder, 'haproxy.cfg'), `global\n    maxconn 1000\n${config}`);
  writeFileSync(join(folder, 'reconnect.sse'), readFileSync(join(DEPLOY, 'reconnect.sse')));
  const child = spawn('haproxy', ['-db', '-q', '-f', 'haproxy.cfg'], { cwd: folder, stdio: 'inherit' });
  const url = `http://127.0.0.1:${port}/v1/events`;
  const answers = () => fetch(`${url}?topic=x&wait=0`, { headers: { accept: 'application/json' } });
  await until(async () => (await answers().catch(() => ({ ok: false }))).ok);
  return {
    url,
    async stop() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}
