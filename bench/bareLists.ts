/**
 * The bare limit of starting: the lists that the controller needs, page by page, fetched and parsed, and nothing
 * else. A fresh process each time; prints how many ms it took from the first request on.
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';

interface Page {
  items: unknown[];
  metadata: { continue?: string };
}

const [url = '', caFile = '', token = '', ...paths] = process.argv.slice(2);
const dispatcher = new Agent({ connect: { ca: readFileSync(caFile) }, allowH2: false, pipelining: 1 });
const headers = { authorization: `Bearer ${token}`, accept: 'application/json' };

async function list(path: string): Promise<number> {
  let objects = 0;
  let next = '';
  do {
    const page = `${path}limit=500${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`;
    const { statusCode, body } = await request(url + page, { dispatcher, headers });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`GET ${page}: ${statusCode} ${text}`);
    const { items, metadata } = JSON.parse(text) as Page;
    objects += items.length;
    next = metadata.continue ?? '';
  } while (next !== '');
  return objects;
}

const began = performance.now();
// All kinds at once, as the controller does.
const counts = await Promise.all(paths.map(list));
process.stdout.write(`${JSON.stringify({ ms: performance.now() - began, counts })}\n`);
await dispatcher.close();
