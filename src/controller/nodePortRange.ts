/**
 * The apiserver's own range of node ports, `--service-node-port-range`. There is no API for it, so it is, in this
 * order: told by a flag of ours; read from `/flagz` (beta since Kubernetes 1.36, needs a right of its own); learned
 * from the words of a refusal; unknown.
 */
import type { Millis } from '../kube/clock.ts';
import type { KubeError } from '../kube/errors.ts';
import type { Transport } from '../kube/transport.ts';
import { format, type PortSet, portSet } from '../ports/portSet.ts';
import type { Log } from './audit.ts';

/** The barrier waits for it. */
const FLAGZ_TIMEOUT_MS: Millis = 2_000;

export interface NodePortRange {
  /** Undefined while unknown. */
  get(): PortSet | undefined;
  /** Asks the apiserver, unless a flag has told. Never rejects: not knowing is no fault. */
  discover(): Promise<void>;
  /** Reads the range from the apiserver's refusal; whether it names one and no flag has told another. */
  learn(error: KubeError): boolean;
}

export function createNodePortRange(parts: {
  transport: Transport;
  log: Log;
  /** `30000-32767`; undefined: find out. */
  told: string | undefined;
  onChange: () => void;
}): NodePortRange {
  const { transport, log, told } = parts;
  let range = told === undefined ? undefined : parseRange(told);

  function set(text: string | undefined, source: string): void {
    const found = text === undefined ? undefined : parseRange(text);
    if (found === undefined || told !== undefined) return;
    if (range !== undefined && format(range) === format(found)) return;
    range = found;
    log.info({ range: text, source }, "the apiserver's own node port range");
    parts.onChange();
  }

  return {
    get: () => range,
    async discover() {
      if (told !== undefined) return;
      const accept = 'application/json;as=Flagz;v=v1beta1;g=config.k8s.io';
      try {
        const { flags } = await transport.request<{ flags?: Record<string, string> }>({
          method: 'GET',
          path: '/flagz',
          accept,
          timeoutMs: FLAGZ_TIMEOUT_MS,
        });
        set(flags?.['service-node-port-range'], '/flagz');
      } catch (error) {
        log.debug({ error: String(error) }, '/flagz does not tell the node port range');
      }
    },
    learn(error) {
      const texts = [error.message, ...error.causes.map(({ message }) => message)];
      const text = /range of valid ports is (\d+-\d+)/.exec(texts.join(' '))?.[1];
      if (text === undefined) return false;
      set(text, 'a refusal');
      return told === undefined;
    },
  };
}

/** `30000-32767` as the apiserver's flag has it; undefined when it is not such a text. */
export function parseRange(text: string): PortSet | undefined {
  const [, first, last] = /^\s*(\d{1,5})-(\d{1,5})\s*$/.exec(text) ?? [];
  const span = { from: Number(first), to: Number(last) };
  return span.from >= 1 && span.to <= 65_535 && span.from <= span.to ? portSet([span]) : undefined;
}
