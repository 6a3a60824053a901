/**
 * Writes the pages of docs/ that are generated: from the table of reasons, the flags and the metrics. A test fails
 * when they differ from what is written.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CHECKS } from '../src/allocation/checks.ts';
import { REASONS, type Reason } from '../src/api/reasons.ts';
import { AUDITED, AUDIT_FIELDS } from '../src/controller/audited.ts';
import { createMetrics, type MetricsSource } from '../src/observability/metrics.ts';
import { parseOptions, UsageExit } from '../src/options.ts';

const DOCS = join(import.meta.dirname, '../docs');

/** In the table of reasons, but nothing in the code comes to this conclusion yet. */
export const NOT_YET_SHOWN: readonly Reason[] = ['QuotaExceeded'];

/** File name in docs/ → its text. */
export function pages(): ReadonlyMap<string, string> {
  return new Map([
    ['reasons.md', reasonsPage()],
    ['flags.md', flagsPage()],
    ['metrics.md', metricsPage()],
    ['audit.md', auditPage()],
  ]);
}

function reasonsPage(): string {
  const rows = (Object.keys(REASONS) as Reason[])
    .filter((reason) => !NOT_YET_SHOWN.includes(reason))
    .map((reason) => {
      const { status, meaning, remedy } = REASONS[reason];
      return [`\`${reason}\``, status, meaning, remedy];
    });
  return page(
    'Reasons',
    'What the condition `nodeport-manager.io/Allocated` of a Service can say. Its message has the details: numbers, ' +
      'names, the text at fault. Events on the Service have the same reasons, except `Pending`, and ' +
      '`PortsReleased`, `ForeignInRange`, `OutOfRange` and `Duplicate`.',
    table(['Reason', 'Status', 'What it means', 'What to do'], rows),
    `Named in the code, but never shown by this version: ${NOT_YET_SHOWN.map((reason) => `\`${reason}\``).join(', ')}.`,
  );
}

function flagsPage(): string {
  const rows = helpText()
    .replaceAll(/\n {10,}/g, ' ')
    .split('\n')
    .flatMap((line) => {
      const [, flag = '', text = ''] = /^ {2}(-\S.*?) {2,}(\S.*)$/.exec(line) ?? [];
      if (flag === '') return [];
      const [notes = '', choices = '', standard = '', variable = ''] =
        / \((?:choices: (.*?)(?:, (?=default|env)))?(?:default: (.*?), )?env: (\w+)\)$/.exec(text) ?? [];
      const meaning = text.slice(0, text.length - notes.length);
      const among = choices === '' ? '' : `; one of ${choices.replaceAll('"', '')}`;
      return [[code(flag), code(variable), code(standard.replaceAll('"', '')), `${meaning}${among}`]];
    });
  return page(
    'Flags',
    'A flag wins over its environment variable, and that over the default. An unknown flag or a bad value ends the ' +
      'process with code 2 and one line that quotes it.',
    table(['Flag', 'Environment variable', 'Default', 'Meaning'], rows),
  );
}

function metricsPage(): string {
  const metrics = createMetrics();
  // Registers the gauges; nothing is collected here, so there is nothing to ask the source.
  const nothing: Pick<MetricsSource, 'conflicts' | 'cacheSilences'> = {
    conflicts: () => [],
    cacheSilences: () => [],
  };
  metrics.watch(nothing as MetricsSource);
  const rows = metrics.registry
    .getMetricsAsArray()
    .filter(({ name }) => !/^(process|nodejs)_/.test(name))
    .map((metric) => {
      // prom-client types this list as what every metric has; each says more of itself.
      const { name, help, type, labelNames = [] } = metric as unknown as Described;
      return [code(name), type, labelNames.map(code).join(', '), help];
    });
  return page(
    'Metrics',
    'Served on `/metrics`, by default on port 8080. Gauges are computed when they are read; counters begin with the ' +
      'process. The gauges of a PortRange disappear with it.',
    table(['Metric', 'Type', 'Labels', 'Meaning'], rows),
    'Besides these there are the usual `process_…` and `nodejs_…` metrics of a Node.js process.',
  );
}

function auditPage(): string {
  const rowsOf = (words: Readonly<Record<string, string>>): string[][] =>
    Object.entries(words).map(([name, meaning]) => [code(name), meaning]);
  return page(
    'Audit log',
    'Each time a number goes to a Service, or away from it, the log has one line of level info (a number that the apiserver ' +
      'refused: warn), which has the field `audit`. With `jq`, everything that happened to port 30100:',
    '```sh\nkubectl logs -n nodeport-manager-system -l app.kubernetes.io/name=nodeport-manager --tail=-1 |\n  ' +
      "jq -c 'select(.audit and (.port == 30100 or .from == 30100))'\n```",
    table(['`audit`', 'What happened'], rowsOf(AUDITED)),
    table(['Field', 'What it says'], rowsOf(AUDIT_FIELDS)),
    'From a run (a Service asks for `low`, then for `high`; somebody edits the table):',
    `\`\`\`json\n${EXAMPLE.trim()}\n\`\`\``,
    '## Once',
    'A line is written when the apiserver has answered the write that made it so, and not before. It is not written again after a ' +
      'retry, a conflict, an answer that was lost, a restart, or by another replica: the condition and the table say what was ' +
      'told. Between the answer and the line the process can be killed; then that line is missing. So a line is there at most ' +
      'once, and what survives everything is the history in [the table](table.md#history). A condition that somebody removed by ' +
      'hand while no controller ran is told as new.',
    '## Checks',
    'A decision asks these in turn, some of them for each PortRange. The first that decides, or objects, is `check`.',
    table(['Check', 'What it asks'], rowsOf(CHECKS)),
    '## Why did it get that?',
    'With `--log-level debug` each decision has a line that says what every check answered; here with `--log-format text`:',
    `\`\`\`text\n${EXPLAINED.trim()}\n\`\`\``,
    '`passed`: the check has no objection, and the next is asked. `objected`: this range is out of the question. `decided`: that is it. ' +
      'At other levels nothing of this is computed.',
  );
}

/** Shortened from a run of `e2e/controller/audit.test.ts`. */
const EXAMPLE = `
{"level":"info","time":"2026-11-21T18:06:21.817Z","audit":"reserved","service":"a-dev/web","uid":"8d97918e-…","port":30100,"names":["http:80/TCP"],"to":30100,"range":"low","request":"range=low","check":"findsPorts","msg":"port reserved"}
{"level":"info","time":"2026-11-21T18:06:21.872Z","audit":"assigned","service":"a-dev/web","uid":"8d97918e-…","port":30100,"names":["http:80/TCP"],"from":52952,"to":30100,"range":"low","request":"range=low","check":"findsPorts","reason":"Assigned","message":"holds http 30100 from low","msg":"port assigned"}
{"level":"info","time":"2026-11-21T18:06:21.923Z","audit":"moved","service":"a-dev/web","uid":"8d97918e-…","port":30120,"names":["http:80/TCP"],"from":30100,"to":30120,"range":"high","request":"range=high","check":"findsPorts","reason":"Assigned","message":"holds http 30120 from high","msg":"port moved"}
{"level":"info","time":"2026-11-21T18:06:21.939Z","audit":"released","service":"a-dev/web","uid":"8d97918e-…","port":30100,"names":["http:80/TCP"],"from":30100,"to":30120,"range":"low","request":"range=low","until":"2026-11-21T18:11:21.925Z","check":"keepsWhatItHolds","msg":"port released"}
{"level":"info","time":"2026-11-21T18:06:22.259Z","audit":"healed","service":"a-dev/web","uid":"8d97918e-…","port":30120,"names":["http:80/TCP"],"range":"high","kind":"edited","block":"nodeport-table-30000","by":"kubectl-patch","from":"Held a-dev/thief","to":"Held","msg":"table entry healed"}
`;

const EXPLAINED = `
18:06:23.899 debug decided                  service=a-dev/text uid=a7989a2c-… decision=refuse check=findsPorts
                   isManaged passed
                   requestIsWellFormed passed
                   hasNodePorts passed
                   claimsAgreeWithTheRequest passed
                   keepsWhatItHolds passed
                   high: rangeExists passed
                   high: admitsTheService passed
                   high: isNotPaused passed
                   high: allowsWantedNumbers passed
                   high: findsPorts objected RangeExhausted: high has too few free ports: 1 needed
`;

interface Described {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames?: readonly string[];
}

/** What `--help` prints. */
function helpText(): string {
  const { write } = process.stdout;
  let text = '';
  process.stdout.write = (chunk: string | Uint8Array) => {
    text += String(chunk);
    return true;
  };
  try {
    parseOptions(['--help'], {}, '');
  } catch (error) {
    if (!(error instanceof UsageExit)) throw error;
  } finally {
    process.stdout.write = write;
  }
  return text;
}

function page(title: string, ...paragraphs: readonly string[]): string {
  const note = '<!-- Generated by scripts/docs.ts: edit its sources and run "make docs". -->';
  return `${[note, `# ${title}`, ...paragraphs].join('\n\n')}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function code(text: string): string {
  return text === '' ? '' : `\`${text}\``;
}

if (import.meta.main) {
  for (const [name, text] of pages()) await writeFile(join(DOCS, name), text);
}
